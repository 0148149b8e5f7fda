// One room: its title and its members with a durable membership.

import { formatNoun } from "./format.js";
import { callApi } from "./api.js";
import { byId, setText } from "./dom.js";
import { join, leave, setTitle } from "./ops-commands.js";
import { Poll } from "./poll.js";
import { Table, buttonPart, textPart } from "./table.js";

const MAX_MEMBERS = 200;

let openedRoom = null;
let openButton;

const table = new Table("members", [
  ["Account", textPart("name", (account) => account)],
  ["Actions", buttonPart("strike", () => "Remove", (account) => run(() => leave(openedRoom, { account })), {
    label: (account) => `Remove ${account}`,
  })],
], (account) => account);

async function run(command) {
  byId("room-refused").textContent = "";
  try {
    await command();
    return true;
  } catch (error) {
    byId("room-refused").textContent = error.message;
    return false;
  }
}

function render({ room, title, members, connections }) {
  if (room !== openedRoom) return;
  const field = byId("room-title");
  const isEdited = document.activeElement === field || field.value !== field.dataset.saved;
  if (!isEdited) field.value = title ?? "";
  field.dataset.saved = title ?? "";
  const limit = members.length > MAX_MEMBERS ? `; the first ${MAX_MEMBERS} are shown` : "";
  const counts = `${formatNoun(members.length, "durable member")}, ${formatNoun(connections.length, "connection")}`;
  setText(byId("room-counts"), counts + limit);
  table.render(members.slice(0, MAX_MEMBERS));
}

const fetchRoom = async () => (openedRoom === null ? null : callApi("GET", ["rooms", openedRoom]));
const poll = new Poll(fetchRoom, render, "room-error");

/** Shows a room, even one that the bridge does not know yet. */
export function openRoom(room, button) {
  [openedRoom, openButton] = [room, button];
  byId("room-name").textContent = room;
  byId("room-counts").textContent = "";
  byId("room-refused").textContent = "";
  for (const id of ["room-title", "room-account"]) byId(id).value = "";
  byId("room-title").dataset.saved = "";
  table.render([]);
  byId("room").hidden = false;
  byId("room-heading").focus();
  poll.refresh();
}

byId("room-close").addEventListener("click", () => {
  openedRoom = null;
  byId("room").hidden = true;
  (openButton.isConnected ? openButton : byId("room-text")).focus();
});
byId("room-title-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const title = byId("room-title").value.trim();
  byId("room-title").value = title;
  if (await run(() => setTitle(openedRoom, title))) byId("room-title").dataset.saved = title;
});
byId("room-member").addEventListener("submit", async (event) => {
  event.preventDefault();
  const account = byId("room-account").value;
  if (account && await run(() => join(openedRoom, { account }))) byId("room-account").value = "";
});
