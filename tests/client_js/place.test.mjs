// Where a client is: cursors, positions since, and what came before.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Place } from "../../bridge/client/javascript/push-bridge.js";
import { event } from "./fake.mjs";

const place = (...frames) => {
  const it = new Place({});
  const news = frames.map((frame) => it.add(frame) !== false);
  return [it.text, news];
};
const cursor = (cursor) => ({ op: "heartbeat", cursor });

test("nothing is known before the first cursor", () => {
  assert.equal(place(event("t:0:1"))[0], undefined);
});

test("the newest cursor stands first, and the last position of each partition behind it", () => {
  const events = [event("a:0:7"), event("a:1:3"), event("a:0:9")];
  assert.equal(place(cursor("C1"), ...events)[0], "C1,a:0:9,a:1:3");
  assert.equal(place(cursor("C1"), ...events, cursor("C2"))[0], "C2");
  assert.equal(place(cursor("C1"), ...events, cursor(null), { op: "weather" })[0], "C1,a:0:9,a:1:3");
});

test("what is not above the last of its partition came before, whatever cursor came between", () => {
  const frames = [event("a:0:7"), event("a:0:7"), cursor("C2"), event("a:0:6"), event("a:0:10")];
  assert.deepEqual(place(cursor("C1"), ...frames)[1], [true, true, false, true, false, true]);
});

test("offsets are compared as the numbers that they are, however long", () => {
  const frames = ["9", "10", "9007199254740992", "9007199254740993"].map((it) => event(`a:0:${it}`));
  assert.deepEqual(place(...frames)[1], [true, true, true, true]);
  assert.deepEqual(place(...frames, frames[3])[1].at(-1), false);
});

test("a gap forgets the positions of its topic and of no other", () => {
  const gap = { op: "gap", topic: "a", reason: "recreated", cursor: null };
  const frames = [event("a:0:7"), event("ab:0:7"), gap, event("a:0:0"), event("ab:0:7")];
  const [text, news] = place(cursor("C1"), ...frames);
  assert.equal(text, "C1,ab:0:7,a:0:0");
  assert.deepEqual(news.slice(1), [true, true, true, true, false]);
});

test("a cursor with positions is taken apart, so that a partition is named once", () => {
  const [text, news] = place(cursor("C1,a:0:4,b:0:1"), event("a:0:4"), event("a:0:5"));
  assert.equal(text, "C1,a:0:5,b:0:1");
  assert.deepEqual(news, [true, false, true]);
});

test("a copy goes its own way", () => {
  const first = new Place({});
  first.add(cursor("C1"));
  first.add(event("a:0:1"));
  const second = new Place(first);
  assert.equal(second.text, first.text === undefined ? undefined : "C1,a:0:1");
  second.add(event("a:0:2"));
  assert.equal(first.text, "C1,a:0:1");
  assert.equal(second.add(event("a:0:2")), false);
});
