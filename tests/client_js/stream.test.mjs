// Event streams: bytes as they come, in whatever pieces.

import assert from "node:assert/strict";
import { test } from "node:test";
import { event, heard, made, turn, until, WELCOME } from "./fake.mjs";

const block = (frame) => `event: ${frame.op}\ndata: ${JSON.stringify(frame)}\n\n`;
const withId = (text, id) => text.slice(0, -1) + `id: ${id}\n\n`;

/** A client that is answered with `bytes`, in pieces of `size`; and what it was asked with. */
function streamed(t, bytes, size, options = {}) {
  const asked = [];
  t.mock.method(globalThis, "fetch", (url, { headers }) => {
    asked.push({ url, headers });
    const body = new ReadableStream({
      start(controller) {
        for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
      },
    });
    return Promise.resolve(new Response(body));
  });
  const client = made("https://push.example", { transport: "sse", ...options });
  return { client, asked, items: heard(client) };
}

for (const size of [1, 7, 1 << 20]) {
  for (const end of ["\n", "\r\n"]) {
    test(`frames are whole in pieces of ${size}, with lines that end with ${JSON.stringify(end)}`, async (t) => {
      const text = "retry: 1000\n" + block(WELCOME) + ":\n"
        + withId(block(event("t:0:1", { data: "é\u2028id: forged\u2028\ndata: no 𝄞" })), "C1") + block(event("t:0:2"));
      const bytes = new TextEncoder().encode(text.replaceAll("\n", end));
      const { client, items } = streamed(t, bytes, size);
      client.start();
      await until(() => items.some(({ at }) => at === "t:0:2"));
      const { data } = items.find(({ at }) => at === "t:0:1");
      assert.equal(data, "é\u2028id: forged\u2028\ndata: no 𝄞");
      assert.equal(client.resumeFrom, "C1,t:0:2");
      client.close();
    });
  }
}

test("what it asks for is in the URL, the credential and the place in headers", async (t) => {
  const { client, asked } = streamed(t, new Uint8Array(), 1, {
    token: "t1", cursor: "C5,t:0:9", topics: ["a", "b"], rooms: ["r&b"], since: "2026-11-21T08:00:00Z",
  });
  client.start();
  await until(() => asked.length);
  assert.equal(asked[0].url, "https://push.example/events?topics=a%2Cb&rooms=r%26b");
  assert.deepEqual(asked[0].headers, { Authorization: "Bearer t1", "Last-Event-ID": "C5,t:0:9" });
  client.close();
});

test("the id of a final close is no cursor", async (t) => {
  const text = block(WELCOME) + withId(block({ op: "closing", code: 4504, reason: "go" }), "final:4504");
  const { client } = streamed(t, new TextEncoder().encode(text), 1 << 20);
  client.start();
  await until(() => client.state === "live");
  await turn();
  assert.equal(client.resumeFrom, "C0");
  client.close();
});

test("where there is no WebSocket at all, it is an event stream at once", async (t) => {
  const { client, items } = streamed(t, new TextEncoder().encode(block(WELCOME)), 1 << 20, {
    transport: "auto", WebSocket: null,
  });
  client.start();
  await until(() => client.state === "live");
  assert.ok(items.length);
  client.close();
});
