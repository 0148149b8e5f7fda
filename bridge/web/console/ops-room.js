// One room: what it is called, and who is in it for good.

import { count } from "./format.js";
import { call } from "./api.js";
import { byId } from "./dom.js";
import { join, leave, name } from "./ops-commands.js";
import { Poll } from "./poll.js";
import { Table, button, text } from "./table.js";

const MOST = 200;

let room = null;
let opener;

const table = new Table("members", [
  ["Account", text("name", (each) => each)],
  ["Do", button("strike", () => "Take out", (each) => order(() => leave(room, { account: each })), {
    label: (each) => `Take ${each} out`,
  })],
], (each) => each);

async function order(give) {
  byId("room-refused").textContent = "";
  try {
    await give();
    return true;
  } catch (trouble) {
    byId("room-refused").textContent = trouble.message;
    return false;
  }
}

function draw(told) {
  if (told.room !== room) return;
  const { title, members, connections } = told;
  const field = byId("room-title");
  if (document.activeElement !== field && field.value === field.dataset.told) field.value = title ?? "";
  field.dataset.told = title ?? "";
  const more = members.length > MOST ? `; the first ${MOST} are shown` : "";
  const said = `${count(members.length)} members for good, ${count(connections.length)} connections${more}`;
  if (byId("room-counts").textContent !== said) byId("room-counts").textContent = said;
  table.draw(members.slice(0, MOST));
}

const poll = new Poll(async () => (room === null ? null : call("GET", ["rooms", room])), draw, "room-error");

/** Shows a room, whether anything is known of it or not. */
export function openRoom(other, button) {
  [room, opener] = [other, button];
  byId("room-name").textContent = room;
  byId("room-counts").textContent = "";
  byId("room-refused").textContent = "";
  for (const id of ["room-title", "room-account"]) byId(id).value = "";
  byId("room-title").dataset.told = "";
  table.draw([]);
  byId("room").hidden = false;
  byId("room-heading").focus();
  poll.now();
}

byId("room-close").addEventListener("click", () => {
  room = null;
  byId("room").hidden = true;
  (opener.isConnected ? opener : byId("room-text")).focus();
});
byId("room-title-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const title = byId("room-title").value.trim();
  byId("room-title").value = title;
  if (await order(() => name(room, title))) byId("room-title").dataset.told = title;
});
byId("room-member").addEventListener("submit", async (event) => {
  event.preventDefault();
  const account = byId("room-account").value;
  if (account && await order(() => join(room, { account }))) byId("room-account").value = "";
});
