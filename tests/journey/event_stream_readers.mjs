// Popular readers of event streams, one per run: `node event_stream_readers.mjs NAME URL`.
//
// Each writes a line of JSON for everything that it hands to its user. `proxy` is none: it is an
// Express server that compresses, in front of the bridge at URL, and writes its own port.

import http from "node:http";

const [name, url] = process.argv.slice(2);
const OPS = ["welcome", "event", "heartbeat", "gap", "live", "closing"];
const write = (item) => process.stdout.write(JSON.stringify(item) + "\n");
const fail = (error) => write({ type: "error", data: String(error?.message ?? error) });

const run = {
  async "fetch-event-source"() {
    // It is written for pages: it asks whether its page is hidden.
    globalThis.window = globalThis;
    globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
    const { fetchEventSource } = await import("@microsoft/fetch-event-source");
    await fetchEventSource(url, {
      onmessage: ({ event, data, id }) => write({ type: event, data, id }),
      // As its documentation shows: it ends where the stream ends, and comes back after an error.
      onclose: () => { throw new Error("the stream has ended"); },
      onerror: () => undefined,
    });
  },

  async "event-source-polyfill"() {
    const { EventSourcePolyfill } = (await import("event-source-polyfill")).default;
    const source = new EventSourcePolyfill(url);
    for (const op of OPS)
      source.addEventListener(op, ({ type, data, lastEventId: id }) => write({ type, data, id }));
    source.onmessage = ({ data }) => write({ type: "message", data });
  },

  async proxy() {
    const { default: express } = await import("express");
    const { default: compression } = await import("compression");
    const target = new URL(url);
    const app = express();
    app.use(compression({ threshold: 0 }));
    app.use((request, response) => {
      const options = { host: target.hostname, port: target.port, path: request.originalUrl };
      const passed = http.request({ ...options, method: request.method, headers: request.headers });
      passed.on("response", (answer) => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      });
      passed.on("error", () => response.destroy());
      response.on("close", () => passed.destroy());
      request.pipe(passed);
    });
    const server = app.listen(0, "127.0.0.1", () => write({ port: server.address().port }));
  },
};

process.on("uncaughtException", fail);
run[name]().catch(fail);
