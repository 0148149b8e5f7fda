// Who is connected, to any instance: by pages, and only those that are asked for.

import { ago, bytes } from "./format.js";
import { call } from "./api.js";
import { byId } from "./dom.js";
import { askKick } from "./ops-kick.js";
import { askMove } from "./ops-move.js";
import { Pager } from "./pagination.js";
import { Poll } from "./poll.js";
import { Table, button, text } from "./table.js";

const KINDS = ["account", "room", "topic", "instance"];
const FEW = 4;

let wanted = {};

const some = (names) => names.slice(0, FEW).join(", ") || "–";
const more = (names) => (names.length > FEW ? `and ${names.length - FEW} more` : "");
const listed = (of) => [
  text("name", (each) => some(of(each))),
  text("soft", (each) => more(of(each)), { title: (each) => of(each).slice(0, 200).join(", ") }),
];
const who = ({ account, id }) => (account === null ? `connection ${id}` : `${account}, connection ${id}`);

const table = new Table("connections", [
  ["Who",
    button("link name", (each) => each.account ?? "", (each) => filter({ account: each.account }), {
      label: (each) => `account ${each.account}: show its connections only`,
    }),
    text("soft", (each) => (each.account === null ? "no account" : "")),
    text("id", (each) => each.id)],
  ["Where", text("name", (each) => each.instance), text("soft name line", (each) => each.address)],
  ["For", text("", (each) => ago(each.since), { title: (each) => each.since })],
  ["Heard", text("", (each) => (each.heard ? `${ago(each.heard)} ago` : "–"), {
    title: (each) => each.heard ?? "known to its own instance only",
  })],
  ["Rooms", ...listed((each) => each.rooms)],
  ["Topics", ...listed((each) => each.topics)],
  ["Queued", text("", (each) => bytes(each.queued_bytes) || "–")],
  ["Do",
    button("move", () => "Rooms…", askMove, { label: (each) => `Rooms of ${who(each)}` }),
    button("kick", () => "Kick…", askKick, { label: (each) => `Kick ${who(each)}` })],
], (each) => each.id);

/** Shows the connections that fit, and no others; what is not named here may be anything. */
export function filter(what) {
  for (const kind of KINDS) byId(`of-${kind}`).value = what[kind] ?? "";
  apply();
  byId("connections-title").scrollIntoView({ block: "nearest" });
}

function apply() {
  wanted = Object.fromEntries(KINDS.map((kind) => [kind, byId(`of-${kind}`).value]));
  byId("connections-all").hidden = KINDS.every((kind) => wanted[kind] === "");
  pager.reset();
}

function draw(list) {
  if (!pager.took(list)) return;
  table.draw(list.items);
  const nobody = Object.values(wanted).some(Boolean) ? "Nobody to whom all of this applies." : "Nobody is connected.";
  byId("connections-none").textContent = list.items.length ? "" : nobody;
}

const ask = () => call("GET", ["connections"], { query: { ...wanted, ...pager.query } });

const poll = new Poll(ask, draw, "connections-error");
const pager = new Pager("connections-pages", 50, () => poll.now());

byId("connections-filter").addEventListener("submit", (event) => {
  event.preventDefault();
  apply();
});
byId("connections-all").addEventListener("click", () => {
  byId("of-account").focus();
  filter({});
});
