import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;

/**
 * A backend with the defaults of java.net.http: its first request to a server asks for h2c.
 *
 * Arguments: the bridge's URL, an admin token, then "METHOD PATH" and a body for each request. Each has a
 * client of its own, so each is a first one. A path that begins with "chunked:" is sent without a
 * length. A line for each response: its status and its body.
 */
public final class Backend {
    public static void main(String[] arguments) throws Exception {
        for (int index = 2; index < arguments.length; index += 2) {
            String[] methodAndPath = arguments[index].split(" ", 2);
            String path = methodAndPath[1];
            byte[] bytes = arguments[index + 1].getBytes(StandardCharsets.UTF_8);
            BodyPublisher body = BodyPublishers.ofByteArray(bytes);
            if (path.startsWith("chunked:")) {
                path = path.substring("chunked:".length());
                body = BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(bytes));
            }
            HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0] + path))
                .header("Authorization", "Bearer " + arguments[1])
                .header("Content-Type", "application/json")
                .method(methodAndPath[0], body)
                .build();
            HttpResponse<String> response =
                HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.body());
        }
    }
}
