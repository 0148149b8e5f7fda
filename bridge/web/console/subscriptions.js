// The topics and rooms of the connection, which can be changed while connected.
//
// Rule: shown is what the bridge confirmed, never what was requested.

import { byId, createElement } from "./dom.js";

const knownTopics = new Set();
let topics = new Set();
let rooms = new Set();
let connection;

function describeReply({ ok, reason, kept }) {
  if (!ok) return `Refused: ${reason}`;
  return kept.length ? `The backend keeps this connection in ${kept.join(", ")}. Only the backend can end that.` : "";
}

async function change(op, names) {
  const reply = await connection.changeSubscriptions(op, names);
  byId("refusal").textContent = describeReply(reply);
  if (!reply.ok) render();
  return reply.ok;
}

function createTopicChip(topic) {
  const box = createElement("input", { type: "checkbox", checked: topics.has(topic), value: topic });
  box.addEventListener("change", () =>
    change(box.checked ? "subscribe" : "unsubscribe", { topics: [topic] }));
  return createElement("li", {}, createElement("label", { className: "chip" }, box, topic));
}

function createRoomChip(room) {
  const leave = { type: "button", value: room, ariaLabel: `Leave ${room}`, title: "Leave" };
  const button = createElement("button", leave, "×");
  button.addEventListener("click", () => change("unsubscribe", { rooms: [room] }));
  return createElement("li", { className: "chip", data: { room } }, room, button);
}

// The focused element keeps the focus. If it goes, its neighbour gets it, or the input `inputId`.
function renderChips(listId, inputId, createChips, key) {
  const list = byId(listId);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  const focusedIndex = [...list.querySelectorAll("input, button")].indexOf(document.activeElement);
  const { value } = document.activeElement;
  list.replaceChildren(...createChips());
  if (focusedIndex < 0) return;
  const controls = [...list.querySelectorAll("input, button")];
  const sameControl = value && controls.find((control) => control.value === value);
  (sameControl || controls[Math.min(focusedIndex, controls.length - 1)] || byId(inputId)).focus();
}

function render() {
  const sortedTopics = [...knownTopics].sort();
  const topicKey = JSON.stringify(sortedTopics.map((topic) => [topic, topics.has(topic)]));
  renderChips("topics", "new-topic", () => sortedTopics.map(createTopicChip), topicKey);
  const boxes = byId("topics").querySelectorAll("input");
  for (const box of boxes) box.checked = topics.has(box.value);
  const sortedRooms = [...rooms].sort();
  renderChips("rooms", "new-room", () => sortedRooms.map(createRoomChip), JSON.stringify(sortedRooms));
  const select = byId("send-topic");
  for (const topic of sortedTopics) {
    if (![...select.options].some((option) => option.value === topic)) select.add(new Option(topic));
  }
}

/** Shows the topics and rooms of a welcome or a reply. */
export function showSubscriptions(confirmed) {
  topics = new Set(confirmed.topics);
  rooms = new Set(confirmed.rooms);
  for (const topic of topics) knownTopics.add(topic);
  render();
}

/** Applies a `rooms` frame: the backend changed the rooms of this connection. */
export function applyRoomChanges({ joined, left }) {
  for (const room of joined) rooms.add(room);
  for (const room of left) rooms.delete(room);
  render();
}

/** Clears everything for a new connection. */
export function resetSubscriptions(newConnection) {
  connection = newConnection;
  knownTopics.clear();
  [topics, rooms] = [new Set(), new Set()];
  byId("refusal").textContent = "";
  byId("send-topic").replaceChildren();
  render();
}

function subscribeOnSubmit(formId, inputId, key) {
  byId(formId).addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = byId(inputId).value.trim();
    if (name && await change("subscribe", { [key]: [name] })) byId(inputId).value = "";
  });
}

subscribeOnSubmit("add-topic", "new-topic", "topics");
subscribeOnSubmit("add-room", "new-room", "rooms");
