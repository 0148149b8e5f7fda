// The rates and gauges of this instance, as numbers and as lines over two minutes.

import { formatNumber } from "./format.js";
import { byId, createElement } from "./dom.js";
import { fetchMetrics } from "./ops-metrics.js";
import { Poll } from "./poll.js";
import { Series } from "./rates.js";

const SVG_NAMESPACE = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [120, 28];

const CHARTS = [
  { name: "Records read", unit: "/s", metric: "push_bridge_records_read_total" },
  { name: "Routed", unit: "/s", metric: "push_bridge_events_routed_total" },
  { name: "Delivered", unit: "/s", metric: "push_bridge_events_delivered_total" },
  { name: "Connections", unit: "", metric: "push_bridge_connections" },
  { name: "Lag", unit: "", metric: "push_bridge_lag" },
].map((chart) => ({ ...chart, series: new Series({ isCounter: chart.unit === "/s" }) }));

function createLineChart() {
  const svg = document.createElementNS(SVG_NAMESPACE, "svg");
  const line = document.createElementNS(SVG_NAMESPACE, "path");
  svg.setAttribute("viewBox", `0 -2 ${WIDTH} ${HEIGHT + 4}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(line);
  return { svg, line };
}

for (const chart of CHARTS) {
  const { svg, line } = createLineChart();
  chart.line = line;
  chart.latest = createElement("b", {}, "–");
  chart.max = createElement("span", { className: "hint" });
  const unit = createElement("span", { className: "hint" }, chart.unit);
  const numbers = createElement("p", { className: "rate" }, chart.latest, unit, chart.max);
  const heading = createElement("h3", {}, chart.name);
  byId("rates-list").append(createElement("li", { data: { rate: chart.name } }, heading, numbers, svg));
}

function render({ metrics, at, instance }) {
  const startedAt = metrics.sum("process_start_time_seconds");
  byId("rates-of").textContent = instance ?? "";
  const isStale = metrics.sum("push_bridge_stale_seconds") > 0;
  for (const { series, metric, latest, max, line } of CHARTS) {
    // The lag is unknown without Kafka, and not 0.
    const isUnknown = isStale && metric === "push_bridge_lag";
    if (!isUnknown) series.add({ at, instance, startedAt, value: metrics.sum(metric) });
    latest.textContent = isUnknown || series.latest === undefined ? "–" : formatNumber(series.latest);
    max.textContent = series.max > 0 ? `max ${formatNumber(series.max)}` : "";
    line.setAttribute("d", series.svgPath(WIDTH, HEIGHT, at));
  }
}

new Poll(fetchMetrics, render, "rates-error");
