// The list of running instances, with a mark at the one that serves this page.

import { formatAge, formatCount, formatNoun } from "./format.js";
import { callApi } from "./api.js";
import { byId } from "./dom.js";
import { showConnections } from "./ops-connections.js";
import { fetchMetrics } from "./ops-metrics.js";
import { Pager } from "./pagination.js";
import { Poll } from "./poll.js";
import { Table, buttonPart, textPart } from "./table.js";

let thisInstance;

const table = new Table("instances", [
  ["Instance",
    textPart("name", ({ instance }) => instance),
    textPart("badge", ({ instance }) => (instance === thisInstance ? "this one" : ""))],
  ["Uptime", textPart("", ({ since }) => formatAge(since), { title: ({ since }) => since })],
  ["Last seen", textPart("", ({ heard }) => `${formatAge(heard)} ago`, { title: ({ heard }) => heard })],
  ["Connections",
    buttonPart("link", ({ connections }) => formatCount(connections), ({ instance }) => showConnections({ instance }), {
      label: ({ connections, instance }) => `${formatNoun(connections, "connection")} of ${instance}: show them`,
    })],
  ["Ready",
    textPart("good", ({ ready }) => (ready ? "ready" : "")),
    textPart("bad", ({ ready }) => (ready ? "" : "not ready"))],
], ({ instance }) => instance);

// Only the metrics name the instance that responds. Without them none is marked.
async function fetchInstances() {
  const [list, snapshot] = await Promise.all([
    callApi("GET", ["instances"], { query: pager.query }),
    fetchMetrics().catch(() => null),
  ]);
  return { list, instance: snapshot?.instance };
}

function render({ list, instance }) {
  thisInstance = instance;
  if (!pager.accept(list)) return;
  const total = list.items.reduce((sum, { connections }) => sum + connections, 0);
  byId("connected").textContent = list.next === null ? formatCount(total) : "";
  table.render(list.items);
}

const poll = new Poll(fetchInstances, render, "instances-error");
const pager = new Pager("instances-pages", 50, () => poll.refresh());
