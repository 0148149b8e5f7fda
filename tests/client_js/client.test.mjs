// What a client does with what it is told, over sockets that the test holds in its hands.

import assert from "node:assert/strict";
import { test } from "node:test";
import { event, heard, rig, turn, until, WELCOME } from "./fake.mjs";

const hello = (socket) => socket.sent[0];
const states = (items) => items.filter(({ op }) => op === "state").map(({ state }) => state);

test("all is said in the hello, and nothing secret is in the URL", async () => {
  const { client, last } = rig({ token: "t1", topics: [], rooms: ["r"], types: ["a.*"] });
  client.start();
  const socket = (await last()).open();
  assert.equal(socket.url, "wss://push.example/base/ws?hello=1");
  assert.equal(socket.protocol, "push-bridge.v1");
  assert.deepEqual(hello(socket), {
    op: "hello", token: "t1", topics: [], rooms: ["r"], types: ["a.*"],
  });
  client.close();
});

test("iterating starts it, hands out in order, and ends with the close", async () => {
  const { client, welcomed } = rig();
  const taken = [];
  const reading = (async () => {
    for await (const item of client) {
      taken.push(item.at ?? item.state ?? item.op);
      if (item.at === "t:0:2") client.close();
    }
  })();
  const socket = await welcomed();
  socket.say(event("t:0:1"), event("t:0:1"), event("t:0:2"), event("t:0:3"));
  await reading;
  assert.deepEqual(taken, ["connecting", "live", "t:0:1", "t:0:2", "closed"]);
  assert.equal(client.resumeFrom, "C0,t:0:2");
  assert.deepEqual(client.closed, { code: 1000, reason: "closed" });
  assert.equal(socket.closedWith, 1000);
});

test("who leaves the loop and comes back to it goes on where it was", async () => {
  const { client, welcomed } = rig();
  const first = (async () => {
    for await (const item of client) if (item.at) return item.at;
  })();
  (await welcomed()).say(event("t:0:1"), event("t:0:2"));
  assert.equal(await first, "t:0:1");
  for await (const item of client) {
    assert.equal(item.at, "t:0:2");
    break;
  }
  client.close();
});

test("a listener that throws keeps nobody else from hearing, and one that left hears no more", async () => {
  const { client, welcomed } = rig();
  const caught = [];
  const usual = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  process.on("unhandledRejection", (error) => caught.push(error.message));
  const [told, left] = [[], []];
  client.on("event", () => { throw new Error("mine"); });
  client.on("event", ({ at }) => told.push(at));
  const off = client.on("event", ({ at }) => left.push(at));
  client.start();
  const socket = await welcomed();
  socket.say(event("t:0:1"));
  await turn();
  off();
  socket.say(event("t:0:2"));
  await turn();
  process.removeAllListeners("unhandledRejection");
  for (const listener of usual) process.on("unhandledRejection", listener);
  assert.deepEqual([told, left, caught], [["t:0:1", "t:0:2"], ["t:0:1"], ["mine", "mine"]]);
  client.close();
});

test("without advice it waits for a random part of a time that doubles, until something came", async (t) => {
  const waits = [];
  const { setTimeout: real } = globalThis;
  t.mock.method(Math, "random", () => 0.999);
  t.mock.method(globalThis, "setTimeout", (act, ms) => {
    if (ms < 9000) waits.push(Math.round(ms / 0.999));
    return real(act, ms < 9000 ? 0 : ms);
  });
  const { client, last, welcomed } = rig({ backoffMs: [500, 3000] });
  client.start();
  for (let count = 1; count <= 5; count += 1) (await last(count)).end(1006);
  (await welcomed(6)).end(1006);
  (await welcomed(7)).say(event("t:0:1")).end(1006);
  await last(8);
  assert.deepEqual(waits, [500, 1000, 2000, 3000, 3000, 3000, 500]);
  client.close();
});

test("when two handshakes fail at once it says once where to look", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const { client, last, welcomed } = rig();
  const items = heard(client);
  const warnings = () => items.filter(({ op }) => op === "warning");
  client.start();
  (await last(1)).end(1006);
  await last(2);
  assert.deepEqual(warnings(), []);
  (await last(2)).end(1006);
  (await last(3)).end(1006);
  await welcomed(4);
  assert.deepEqual(warnings().map(({ code }) => code), ["websocket"]);
  assert.match(warnings()[0].reason, /BRIDGE_ALLOWED_ORIGINS/);
  client.close();
});

test("what was only queued when the connection broke is asked for again, and comes once", async () => {
  const { client, last, welcomed } = rig();
  const items = client[Symbol.asyncIterator]();
  const next = async () => (await items.next()).value;
  const socket = await welcomed();
  socket.say(event("t:0:1"), event("t:0:2"), { op: "heartbeat", cursor: "C1" });
  for (const expected of ["connecting", "live"]) assert.equal((await next()).state, expected);
  assert.equal((await next()).at, "t:0:1");
  socket.end(1006);
  const second = (await last(2)).open();
  assert.equal(hello(second).cursor, "C0,t:0:1");
  second.say({ ...WELCOME, cursor: "C0,t:0:1" }, event("t:0:2"), { op: "live", replayed: 1, cursor: "C2" });
  for (const expected of ["waiting", "connecting", "replaying"])
    assert.equal((await next()).state, expected);
  assert.equal((await next()).at, "t:0:2");
  assert.equal((await next()).op, "live");
  assert.equal(client.resumeFrom, "C2");
  client.close();
});

test("where too many wait it leaves, and comes back when a tenth is left", async () => {
  const { client, last, opened, welcomed } = rig({ highWater: 20 });
  const items = client[Symbol.asyncIterator]();
  const socket = await welcomed();
  for (let offset = 1; offset <= 40; offset += 1) socket.say(event(`t:0:${offset}`));
  assert.equal(client.state, "waiting");
  assert.equal(socket.closedWith, 1000);
  assert.ok(client.waiting <= 22);
  while (client.waiting > 3) await items.next();
  assert.equal(opened.length, 1);
  await items.next();
  assert.equal(hello((await last(2)).open()).cursor.split(",")[0], "C0");
  client.close();
});

test("a clock that jumps means that it slept: it asks at once whether the bridge is there", async (t) => {
  const { client, welcomed } = rig();
  client.start();
  const socket = await welcomed();
  const now = Date.now();
  await new Promise((resolve) => setTimeout(resolve, 1100));
  assert.deepEqual(socket.sent.slice(1), []);
  t.mock.method(Date, "now", () => now + 60_000);
  await until(() => socket.sent.length > 1);
  assert.deepEqual(socket.sent.slice(1), [{ op: "heartbeat" }]);
  client.close();
});

test("a final code ends it; the reason is the closing frame's", async () => {
  const { client, welcomed } = rig();
  const items = heard(client);
  client.start();
  const socket = await welcomed();
  socket.say({ op: "closing", code: 4504, reason: "go", reconnect: false, retry_after: 0, cursor: null });
  socket.end(4504, "other");
  await turn();
  assert.deepEqual(states(items), ["connecting", "live", "closed"]);
  assert.deepEqual(client.closed, { code: 4504, reason: "go" });
  await assert.rejects(client.subscribe({ rooms: ["r"] }), { code: "closed" });
});

test("what an old connection still says does not count", async () => {
  const { client, welcomed, last } = rig({ welcomeMs: 20 });
  const items = heard(client);
  client.start();
  const old = (await last()).open();
  const socket = await welcomed(2);
  old.say(WELCOME, event("t:0:9"));
  old.end(4504);
  socket.say(event("t:0:1"));
  await turn();
  assert.deepEqual(items.filter(({ at }) => at).map(({ at }) => at), ["t:0:1"]);
  assert.equal(client.state, "live");
  client.close();
});

test("a token that can not be had is tried again, and nobody connects without", async () => {
  const answers = [() => Promise.reject(new Error("offline")), () => { throw new Error("worse"); }, () => "t3"];
  const { client, opened, last } = rig({ token: () => answers.shift()() });
  const items = heard(client);
  client.start();
  assert.equal(hello((await last()).open()).token, "t3");
  assert.equal(opened.length, 1);
  const why = items.filter(({ state }) => state === "waiting").map(({ reason }) => reason);
  assert.deepEqual(why, ["Error: offline", "Error: worse"]);
  client.close();
});

test("a topic asked for without a connection stands beside those that came by default", async () => {
  const { client, welcomed, last } = rig();
  client.start();
  (await welcomed(1, { topics: ["a", "b"] })).end(1006);
  const done = client.subscribe({ topics: ["private"] });
  const socket = (await last(2)).open();
  assert.deepEqual(hello(socket).topics, ["a", "b", "private"]);
  socket.say({ ...WELCOME, topics: ["a", "b", "private"] });
  assert.deepEqual((await done).topics, ["a", "b", "private"]);
  client.close();
});

test("closed in whatever state, it leaves no timer behind", async () => {
  const timers = () => process.getActiveResourcesInfo().filter((it) => it === "Timeout").length;
  const before = timers();
  const idle = rig();
  idle.client.close();
  const connecting = rig();
  connecting.client.start();
  const live = rig({ token: () => "t" });
  live.client.start();
  await live.welcomed(1, { expires: new Date(Date.now() + 9e5).toISOString() });
  const waiting = rig({ backoffMs: [9e5, 9e5] });
  waiting.client.start();
  (await waiting.last()).end(1006);
  assert.ok(timers() > before);
  for (const { client } of [connecting, live, waiting]) client.close();
  assert.equal(timers(), before);
});
