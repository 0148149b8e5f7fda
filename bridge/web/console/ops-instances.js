// The bridges that run, and which of them this page is of.

import { ago, count } from "./format.js";
import { call } from "./api.js";
import { byId } from "./dom.js";
import { filter } from "./ops-connections.js";
import { figures } from "./ops-figures.js";
import { Pager } from "./pagination.js";
import { Poll } from "./poll.js";
import { Table, button, text } from "./table.js";

let here;

const table = new Table("instances", [
  ["Instance", text("name", (each) => each.instance), text("badge", (each) => (each.instance === here ? "this one" : ""))],
  ["Runs for", text("", (each) => ago(each.since), { title: (each) => each.since })],
  ["Heard", text("", (each) => `${ago(each.heard)} ago`, { title: (each) => each.heard })],
  ["Connections", button("link", (each) => count(each.connections), (each) => filter({ instance: each.instance }), {
    label: (each) => `${each.connections} connections of ${each.instance}: show them`,
  })],
  ["Ready", text("good", (each) => (each.ready ? "ready" : "")), text("bad", (each) => (each.ready ? "" : "not ready"))],
], (each) => each.instance);

// Which one answers is told by its metrics; where those are not to be had, none is marked.
async function ask() {
  const [list, known] = await Promise.all([
    call("GET", ["instances"], { query: pager.query }),
    figures().catch(() => null),
  ]);
  return { list, instance: known?.instance };
}

function draw({ list, instance }) {
  here = instance;
  if (!pager.took(list)) return;
  const all = list.items.reduce((sum, { connections }) => sum + connections, 0);
  byId("connected").textContent = list.next === null ? count(all) : "";
  table.draw(list.items);
}

const poll = new Poll(ask, draw, "instances-error");
const pager = new Pager("instances-pages", 50, () => poll.now());
