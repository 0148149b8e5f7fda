// The connections to all instances, in pages, with filters.

import { formatAge, formatBytes } from "./format.js";
import { callApi } from "./api.js";
import { byId } from "./dom.js";
import { openKickDialog } from "./ops-kick.js";
import { openMoveDialog } from "./ops-move.js";
import { Pager } from "./pagination.js";
import { Poll } from "./poll.js";
import { Table, buttonPart, textPart } from "./table.js";

const FILTERS = ["account", "room", "topic", "instance"];
const MAX_NAMES_IN_CELL = 4;
const MAX_NAMES_IN_TITLE = 200;

let activeFilters = {};

const firstNames = (names) => names.slice(0, MAX_NAMES_IN_CELL).join(", ") || "–";
const remainingNames = (names) =>
  (names.length > MAX_NAMES_IN_CELL ? `and ${names.length - MAX_NAMES_IN_CELL} more` : "");
const namesParts = (namesOf) => [
  textPart("name", (item) => firstNames(namesOf(item))),
  textPart("soft", (item) => remainingNames(namesOf(item)), {
    title: (item) => namesOf(item).slice(0, MAX_NAMES_IN_TITLE).join(", "),
  }),
];
const describeClient = ({ account, id }) =>
  (account === null ? `connection ${id}` : `${account}, connection ${id}`);

const table = new Table("connections", [
  ["Client",
    buttonPart("link name", ({ account }) => account ?? "", ({ account }) => showConnections({ account }), {
      label: ({ account }) => `account ${account}: show its connections only`,
    }),
    textPart("soft", ({ account }) => (account === null ? "no account" : "")),
    textPart("id", ({ id }) => id)],
  ["Instance",
    textPart("name", ({ instance }) => instance),
    textPart("soft name line", ({ address }) => address, { title: () => "client address" })],
  ["Age", textPart("", ({ since }) => formatAge(since), { title: ({ since }) => since })],
  ["Last seen", textPart("", ({ heard }) => (heard ? `${formatAge(heard)} ago` : "–"), {
    title: ({ heard }) => heard ?? "known to its own instance only",
  })],
  ["Rooms", ...namesParts(({ rooms }) => rooms)],
  ["Topics", ...namesParts(({ topics }) => topics)],
  ["Queued", textPart("", ({ queued_bytes }) => formatBytes(queued_bytes) || "–")],
  ["Actions",
    buttonPart("move", () => "Rooms…", openMoveDialog, { label: (item) => `Rooms of ${describeClient(item)}` }),
    buttonPart("kick", () => "Kick…", openKickDialog, { label: (item) => `Kick ${describeClient(item)}` })],
], ({ id }) => id);

/** Shows only the connections that match all of `filters`. */
export function showConnections(filters) {
  for (const name of FILTERS) byId(`of-${name}`).value = filters[name] ?? "";
  applyFilters();
  byId("connections-title").scrollIntoView({ block: "nearest" });
}

function applyFilters() {
  activeFilters = Object.fromEntries(FILTERS.map((name) => [name, byId(`of-${name}`).value]));
  byId("connections-all").hidden = FILTERS.every((name) => activeFilters[name] === "");
  pager.reset();
}

function render(list) {
  if (!pager.accept(list)) return;
  table.render(list.items);
  const isFiltered = Object.values(activeFilters).some(Boolean);
  const emptyText = isFiltered ? "No connection matches these filters." : "No connections.";
  byId("connections-none").textContent = list.items.length ? "" : emptyText;
}

const fetchConnections = () =>
  callApi("GET", ["connections"], { query: { ...activeFilters, ...pager.query } });

const poll = new Poll(fetchConnections, render, "connections-error");
const pager = new Pager("connections-pages", 50, () => poll.refresh());

byId("connections-filter").addEventListener("submit", (event) => {
  event.preventDefault();
  applyFilters();
});
byId("connections-all").addEventListener("click", () => {
  byId("of-account").focus();
  showConnections({});
});
