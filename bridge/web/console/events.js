// What has arrived, newest first: events, and between them what was missed and when.
//
// Rules: the list is bounded, and drawn once a frame however many come. A gap is never silent.

import { byId, cap, clock, make } from "./dom.js";
import { dataOf } from "./lossless-json.js";

const MOST = 300;
const REASONS = {
  expired: "Kafka keeps them no longer",
  truncated: "this client was ahead of Kafka",
  recreated: "the topic was deleted and made again",
  limit: "they are more than this bridge replays",
  corrupt: "Kafka's bytes can not be read",
};

let held = [];
let count = 0;
let paused = false;
let asked = false;

function draw() {
  asked = false;
  if (paused || !held.length) return;
  byId("events").prepend(...held.map((build) => build()).reverse());
  held = [];
  cap(byId("events"), MOST);
  byId("nothing").hidden = count > 0;
}

function add(build) {
  held.push(build);
  if (held.length > MOST) held.shift();
  byId("pause").textContent = paused ? `Resume (${held.length})` : "Pause";
  if (!asked) {
    asked = true;
    // A tab in the background draws no frames, but what it holds is bounded anyway.
    requestAnimationFrame(draw);
  }
}

function body(frame, text) {
  if (frame.deleted) return make("p", { className: "hint" }, "deleted");
  if ("data_base64" in frame) return make("pre", {}, `base64: ${frame.data_base64}`);
  return make("pre", {}, dataOf(text));
}

function item(frame, text) {
  const time = make("time", { dateTime: frame.time, title: frame.time }, clock(new Date(frame.time)));
  const what = make(
    "div", { className: "what" },
    make("span", { className: "type" }, frame.type),
    make("span", { className: "topic", title: `at ${frame.at}` }, frame.topic),
    make("span", { className: "to", title: "why you got it" }, frame.to),
  );
  const head = make("div", { className: "head" }, what, time);
  return make("li", { className: "event", data: { at: frame.at } }, head, body(frame, text));
}

export function addEvent({ frame, text }) {
  count += 1;
  byId("count").textContent = count;
  add(() => item(frame, text));
}

/** Puts a line between the events; `kind` is gap, lost or back. */
export function addNote(kind, text) {
  const at = clock();
  add(() => make("li", { className: `note ${kind}` }, make("span", {}, text), make("time", {}, at)));
}

export function addGap({ topic, reason }) {
  addNote("gap", `Gap in ${topic}: events were missed, because ${REASONS[reason] ?? "of something new"} (${reason}). Load its state anew.`);
}

export function clear() {
  held = [];
  count = 0;
  byId("count").textContent = "0";
  byId("events").replaceChildren();
  byId("nothing").hidden = false;
  byId("pause").textContent = paused ? "Resume (0)" : "Pause";
}

export function pause(on) {
  paused = on;
  byId("pause").setAttribute("aria-pressed", String(on));
  byId("pause").textContent = on ? "Resume (0)" : "Pause";
  draw();
}

byId("clear").addEventListener("click", clear);
byId("pause").addEventListener("click", () => pause(!paused));
