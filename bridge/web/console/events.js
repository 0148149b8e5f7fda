// The list of received events, newest first, with notes about gaps and closes between them.
//
// Rules: the list is bounded, and rendered once per animation frame. A gap is never silent.

import { byId, createElement, timeOfDay, trimChildren } from "./dom.js";
import { formatData } from "./lossless-json.js";

const MAX_ITEMS = 300;
const GAP_REASONS = {
  expired: "Kafka no longer keeps them",
  truncated: "this client's cursor was beyond the end of the log",
  recreated: "the topic was deleted and recreated",
  limit: "they exceed this bridge's replay limits",
  corrupt: "Kafka's bytes cannot be read",
};

let pendingItems = []; // functions that create the elements
let eventCount = 0;
let isPaused = false;
let isRenderScheduled = false;

function showPauseButton() {
  byId("pause").textContent = isPaused ? `Resume (${pendingItems.length})` : "Pause";
}

function render() {
  isRenderScheduled = false;
  if (isPaused || !pendingItems.length) return;
  byId("events").prepend(...pendingItems.map((create) => create()).reverse());
  pendingItems = [];
  trimChildren(byId("events"), MAX_ITEMS);
  byId("nothing").hidden = eventCount > 0;
}

function addItem(create) {
  pendingItems.push(create);
  if (pendingItems.length > MAX_ITEMS) pendingItems.shift();
  showPauseButton();
  if (!isRenderScheduled) {
    isRenderScheduled = true;
    // A background tab renders no frames. The bound above limits its memory.
    requestAnimationFrame(render);
  }
}

function createBody(frame, text) {
  if (frame.deleted) return createElement("p", { className: "hint" }, "deleted");
  if ("data_base64" in frame) return createElement("pre", {}, `base64: ${frame.data_base64}`);
  return createElement("pre", {}, formatData(text));
}

function createEvent(frame, text) {
  const received = timeOfDay(new Date(frame.time));
  const time = createElement("time", { dateTime: frame.time, title: frame.time }, received);
  const summary = createElement(
    "div", { className: "what" },
    createElement("span", { className: "type" }, frame.type),
    createElement("span", { className: "topic", title: `at ${frame.at}` }, frame.topic),
    createElement("span", { className: "to", title: "the audience that matched" }, frame.to),
  );
  const head = createElement("div", { className: "head" }, summary, time);
  return createElement("li", { className: "event", data: { at: frame.at } }, head, createBody(frame, text));
}

export function addEvent({ frame, text }) {
  eventCount += 1;
  byId("count").textContent = eventCount;
  addItem(() => createEvent(frame, text));
}

/** Adds a line between the events. `kind` is gap, closed or connected. */
export function addNote(kind, text) {
  const now = timeOfDay();
  addItem(() =>
    createElement("li", { className: `note ${kind}` }, createElement("span", {}, text), createElement("time", {}, now)));
}

export function addGap({ topic, reason }) {
  const explanation = GAP_REASONS[reason] ?? "the bridge reports an unknown reason";
  addNote("gap", `Gap in ${topic}: events are missing, because ${explanation} (${reason}). Reload its state.`);
}

export function clearEvents() {
  pendingItems = [];
  eventCount = 0;
  byId("count").textContent = "0";
  byId("events").replaceChildren();
  byId("nothing").hidden = false;
  showPauseButton();
}

byId("clear").addEventListener("click", clearEvents);
byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  render();
  showPauseButton();
});
