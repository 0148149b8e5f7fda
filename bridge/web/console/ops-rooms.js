// The rooms, by pages, or those with a text in their name or title.
//
// Rule: the bridge has no search, so the page looks through its list, as far as that is bearable,
// and says where it has stopped.

import { count } from "./format.js";
import { call } from "./api.js";
import { byId } from "./dom.js";
import { filter } from "./ops-connections.js";
import { openRoom } from "./ops-room.js";
import { Pager } from "./pagination.js";
import { Poll } from "./poll.js";
import { Table, button, text } from "./table.js";

const [MOST, AT_ONCE, REQUESTS] = [50, 1000, 10];

let sought = "";

const table = new Table("room-list", [
  ["Room", text("name", (each) => each.room)],
  ["Title", text("", (each) => each.title ?? "")],
  ["Members", text("", (each) => count(each.members))],
  ["Connections", button("link", (each) => count(each.connections), (each) => filter({ room: each.room }), {
    label: (each) => `${each.connections} connections in ${each.room}: show them`,
  })],
  ["Do", button("open", () => "Open", (each, button) => openRoom(each.room, button), { label: (each) => `Open ${each.room}` })],
], (each) => each.room);

async function search(text) {
  const fits = (name) => name !== null && name.toLowerCase().includes(text.toLowerCase());
  const items = [];
  let page = null;
  for (let request = 1; ; request += 1) {
    const answer = await call("GET", ["rooms"], { query: { limit: AT_ONCE, page } });
    items.push(...answer.items.filter((each) => fits(each.room) || fits(each.title)));
    page = answer.next;
    if (items.length > MOST) return { items: items.slice(0, MOST), next: null, said: `The first ${MOST} of them; there are more.` };
    if (page === null) return { items, next: null, said: items.length ? "" : "No room is called that." };
    if (request === REQUESTS) return { items, next: null, said: `Looked through the first ${count(AT_ONCE * REQUESTS)} rooms only.` };
  }
}

async function ask() {
  if (sought) return search(sought);
  const list = await call("GET", ["rooms"], { query: pager.query });
  return { ...list, said: list.items.length ? "" : "No room has anybody in it, or a title." };
}

function draw(list) {
  if (!pager.took(list)) return;
  table.draw(list.items);
  if (byId("rooms-said").textContent !== list.said) byId("rooms-said").textContent = list.said;
}

const poll = new Poll(ask, draw, "rooms-error");
const pager = new Pager("rooms-pages", 10, () => poll.now());

function seek(text) {
  sought = text;
  byId("rooms-all").hidden = text === "";
  pager.reset();
}

byId("rooms-filter").addEventListener("submit", (event) => {
  event.preventDefault();
  seek(byId("room-text").value);
});
byId("rooms-all").addEventListener("click", () => {
  byId("room-text").value = "";
  byId("room-text").focus();
  seek("");
});
byId("room-open").addEventListener("click", () => {
  if (byId("room-text").value) openRoom(byId("room-text").value, byId("room-open"));
  else byId("room-text").focus();
});
