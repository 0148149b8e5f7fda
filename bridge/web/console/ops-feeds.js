// The topics that this instance reads, and how far it is behind Kafka.

import { count } from "./format.js";
import { call } from "./api.js";
import { byId } from "./dom.js";
import { filter } from "./ops-connections.js";
import { Pager } from "./pagination.js";
import { Poll } from "./poll.js";
import { Table, button, text } from "./table.js";

const KINDS = new Map([["reading", "good"], ["asleep", "soft"], ["starting", "warn"], ["absent", "warn"]]);

const lag = ({ partitions }) => partitions.reduce((sum, each) => sum + each.lag, 0);
const state = (kind) => text(kind, (each) => ((KINDS.get(each.state) ?? "bad") === kind ? each.state : ""));

let topics = [];
let chosen = null;
let opener;

const table = new Table("feeds", [
  ["Topic", text("name", (each) => each.topic)],
  ["In Kafka", text("name soft", (each) => each.kafka)],
  ["State", ...["good", "soft", "warn", "bad"].map(state)],
  ["Subscribers", button("link", (each) => count(each.subscribers), (each) => filter({ topic: each.topic }), {
    label: (each) => `${each.subscribers} subscribers of ${each.topic}: show them`,
  })],
  ["Lag", text("", (each) => count(lag(each)))],
  ["Partitions", button("link", (each) => count(each.partitions.length), choose, {
    label: (each) => `${each.partitions.length} partitions of ${each.topic}: show their lag`,
  })],
], (each) => each.topic);

const partitions = new Table("partitions", [
  ["Partition", text("", (each) => String(each.partition))],
  ["Reads next", text("", (each) => count(each.position))],
  ["Kafka's end", text("", (each) => count(each.end))],
  ["Lag", text("", (each) => count(each.lag))],
], (each) => each.partition);

function show() {
  const feed = topics.find((each) => each.topic === chosen);
  byId("feed").hidden = feed === undefined;
  if (feed === undefined) return;
  if (byId("feed-topic").textContent !== chosen) byId("feed-topic").textContent = chosen;
  partitions.draw(feed.partitions);
}

function choose(feed, button) {
  chosen = chosen === feed.topic ? null : feed.topic;
  opener = button;
  show();
}

byId("feed-close").addEventListener("click", () => {
  chosen = null;
  show();
  opener.focus();
});

function draw(list) {
  if (!pager.took(list)) return;
  topics = list.items;
  table.draw(topics);
  show();
}

const poll = new Poll(() => call("GET", ["topics"], { query: pager.query }), draw, "feeds-error");
const pager = new Pager("feeds-pages", 50, () => poll.now());
