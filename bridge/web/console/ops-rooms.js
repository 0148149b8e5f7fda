// The list of rooms, in pages, or those whose name or title contains a text.
//
// Rule: `/v1` has no search, so the page scans its list up to a limit and shows where it stopped.

import { formatCount, formatNoun } from "./format.js";
import { callApi } from "./api.js";
import { byId, setText } from "./dom.js";
import { showConnections } from "./ops-connections.js";
import { openRoom } from "./ops-room.js";
import { Pager } from "./pagination.js";
import { Poll } from "./poll.js";
import { Table, buttonPart, textPart } from "./table.js";

const [MAX_MATCHES, ROOMS_PER_REQUEST, MAX_REQUESTS] = [50, 1000, 10];

let searchText = "";

const table = new Table("room-list", [
  ["Room", textPart("name", ({ room }) => room)],
  ["Title", textPart("", ({ title }) => title ?? "")],
  ["Members", textPart("", ({ members }) => formatCount(members))],
  ["Connections",
    buttonPart("link", ({ connections }) => formatCount(connections), ({ room }) => showConnections({ room }), {
      label: ({ connections, room }) => `${formatNoun(connections, "connection")} in ${room}: show them`,
    })],
  ["Actions",
    buttonPart("open", () => "Open", ({ room }, button) => openRoom(room, button), {
      label: ({ room }) => `Open ${room}`,
    })],
], ({ room }) => room);

async function searchRooms(text) {
  const matches = (name) => name !== null && name.toLowerCase().includes(text.toLowerCase());
  const items = [];
  let page = null;
  for (let request = 1; ; request += 1) {
    const list = await callApi("GET", ["rooms"], { query: { limit: ROOMS_PER_REQUEST, page } });
    items.push(...list.items.filter(({ room, title }) => matches(room) || matches(title)));
    page = list.next;
    if (items.length > MAX_MATCHES) {
      const note = `The first ${MAX_MATCHES} matches are shown; there are more.`;
      return { items: items.slice(0, MAX_MATCHES), next: null, note };
    }
    if (page === null) return { items, next: null, note: items.length ? "" : "No room matches." };
    if (request === MAX_REQUESTS) {
      const scanned = formatCount(ROOMS_PER_REQUEST * MAX_REQUESTS);
      return { items, next: null, note: `Only the first ${scanned} rooms were searched.` };
    }
  }
}

async function fetchRooms() {
  if (searchText) return searchRooms(searchText);
  const list = await callApi("GET", ["rooms"], { query: pager.query });
  return { ...list, note: list.items.length ? "" : "No room has a member, a connection or a title." };
}

function render(list) {
  if (!pager.accept(list)) return;
  table.render(list.items);
  setText(byId("rooms-note"), list.note);
}

const poll = new Poll(fetchRooms, render, "rooms-error");
const pager = new Pager("rooms-pages", 10, () => poll.refresh());

function search(text) {
  searchText = text;
  byId("rooms-all").hidden = text === "";
  pager.reset();
}

byId("rooms-filter").addEventListener("submit", (event) => {
  event.preventDefault();
  search(byId("room-text").value);
});
byId("rooms-all").addEventListener("click", () => {
  byId("room-text").value = "";
  byId("room-text").focus();
  search("");
});
byId("room-open").addEventListener("click", () => {
  if (byId("room-text").value) openRoom(byId("room-text").value, byId("room-open"));
  else byId("room-text").focus();
});
