// Topics and rooms, chosen while connected.
//
// Rule: what is shown as chosen is what the bridge has said, never what was asked of it.

import { byId, make } from "./dom.js";

const known = new Set();
let topics = new Set();
let rooms = new Set();
let connection;

async function change(op, what) {
  const reply = await connection.change(op, what);
  byId("refusal").textContent = reply.ok ? "" : `Refused: ${reply.reason}`;
  if (!reply.ok) draw();
  return reply.ok;
}

function topicChip(topic) {
  const box = make("input", { type: "checkbox", checked: topics.has(topic), value: topic });
  box.addEventListener("change", () =>
    change(box.checked ? "subscribe" : "unsubscribe", { topics: [topic] }));
  return make("li", {}, make("label", { className: "chip" }, box, topic));
}

function roomChip(room) {
  const button = make("button", { type: "button", value: room, ariaLabel: `Leave ${room}`, title: "Leave" }, "×");
  button.addEventListener("click", () => change("unsubscribe", { rooms: [room] }));
  return make("li", { className: "chip", data: { room } }, room, button);
}

// What has the focus keeps it, and hands it on where it goes: to its neighbour, or to `beside`.
function fill(id, beside, chips, key) {
  const list = byId(id);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  const place = [...list.querySelectorAll("input, button")].indexOf(document.activeElement);
  const { value } = document.activeElement;
  list.replaceChildren(...chips());
  if (place < 0) return;
  const left = [...list.querySelectorAll("input, button")];
  const same = value && left.find((each) => each.value === value);
  (same || left[Math.min(place, left.length - 1)] || byId(beside)).focus();
}

function draw() {
  const sorted = [...known].sort();
  const marked = sorted.map((topic) => [topic, topics.has(topic)]);
  fill("topics", "new-topic", () => sorted.map(topicChip), JSON.stringify(marked));
  const boxes = byId("topics").querySelectorAll("input");
  for (const box of boxes) box.checked = topics.has(box.value);
  const entered = [...rooms].sort();
  fill("rooms", "new-room", () => entered.map(roomChip), JSON.stringify(entered));
  const select = byId("send-topic");
  for (const topic of sorted) {
    if (![...select.options].some((option) => option.value === topic)) select.add(new Option(topic));
  }
}

/** Shows the topics and rooms of a welcome or a reply. */
export function chosen(told) {
  topics = new Set(told.topics);
  rooms = new Set(told.rooms);
  for (const topic of topics) known.add(topic);
  draw();
}

/** Shows what the backend has changed. */
export function moved({ joined, left }) {
  for (const room of joined) rooms.add(room);
  for (const room of left) rooms.delete(room);
  draw();
}

/** Begins anew, with another connection. */
export function begin(another) {
  connection = another;
  known.clear();
  [topics, rooms] = [new Set(), new Set()];
  byId("refusal").textContent = "";
  byId("send-topic").replaceChildren();
  draw();
}

function adds(form, input, key) {
  byId(form).addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = byId(input).value.trim();
    if (name && await change("subscribe", { [key]: [name] })) byId(input).value = "";
  });
}

adds("add-topic", "new-topic", "topics");
adds("add-room", "new-room", "rooms");
