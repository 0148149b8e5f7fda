// The topics that this instance reads, with their lag.

import { formatCount, formatNoun } from "./format.js";
import { callApi } from "./api.js";
import { byId, setText } from "./dom.js";
import { showConnections } from "./ops-connections.js";
import { Pager } from "./pagination.js";
import { Poll } from "./poll.js";
import { Table, buttonPart, textPart } from "./table.js";

const CLASSES_BY_STATE = new Map([["reading", "good"], ["asleep", "soft"], ["starting", "warn"], ["absent", "warn"]]);

// Without Kafka nobody knows the end of a topic, so its lag is not 0.
const describeLag = (topic) => (topic.state === "stale" ? "unknown" : formatCount(totalLag(topic)));
const totalLag = ({ partitions }) => partitions.reduce((sum, { lag }) => sum + lag, 0);
const statePart = (className) =>
  textPart(className, ({ state }) => ((CLASSES_BY_STATE.get(state) ?? "bad") === className ? state : ""));

let topics = [];
let openTopic = null;
let openButton;

const table = new Table("feeds", [
  ["Topic", textPart("name", ({ topic }) => topic)],
  ["Kafka topic", textPart("name soft", ({ kafka }) => kafka)],
  ["State", ...["good", "soft", "warn", "bad"].map(statePart)],
  ["Subscribers",
    buttonPart("link", ({ subscribers }) => formatCount(subscribers), ({ topic }) => showConnections({ topic }), {
      label: ({ subscribers, topic }) => `${formatNoun(subscribers, "subscriber")} of ${topic}: show them`,
    })],
  ["Lag", textPart("", describeLag)],
  ["Partitions",
    buttonPart("link", ({ partitions }) => formatCount(partitions.length), togglePartitions, {
      label: ({ partitions, topic }) => `${formatNoun(partitions.length, "partition")} of ${topic}: show their lag`,
    })],
], ({ topic }) => topic);

const openState = () => topics.find(({ topic }) => topic === openTopic)?.state;
const describeEnd = (number) => (openState() === "stale" ? "unknown" : formatCount(number));

const partitionTable = new Table("partitions", [
  ["Partition", textPart("", ({ partition }) => String(partition))],
  ["Position", textPart("", ({ position }) => formatCount(position))],
  ["End offset", textPart("", ({ end }) => describeEnd(end))],
  ["Lag", textPart("", ({ lag }) => describeEnd(lag))],
], ({ partition }) => partition);

function renderPartitions() {
  const topic = topics.find((item) => item.topic === openTopic);
  byId("feed").hidden = topic === undefined;
  if (topic === undefined) return;
  setText(byId("feed-topic"), openTopic);
  partitionTable.render(topic.partitions);
}

function togglePartitions({ topic }, button) {
  openTopic = openTopic === topic ? null : topic;
  openButton = button;
  renderPartitions();
}

byId("feed-close").addEventListener("click", () => {
  openTopic = null;
  renderPartitions();
  openButton.focus();
});

function render(list) {
  if (!pager.accept(list)) return;
  topics = list.items;
  table.render(topics);
  renderPartitions();
}

const poll = new Poll(() => callApi("GET", ["topics"], { query: pager.query }), render, "feeds-error");
const pager = new Pager("feeds-pages", 50, () => poll.refresh());
