// How much goes on at this instance, as numbers and as lines of two minutes.

import { rounded } from "./format.js";
import { byId, make } from "./dom.js";
import { figures } from "./ops-figures.js";
import { Poll } from "./poll.js";
import { Series } from "./rates.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [120, 28];

const SHOWN = [
  { name: "Events read", unit: "/s", metric: "push_bridge_records_read_total" },
  { name: "Routed", unit: "/s", metric: "push_bridge_events_routed_total" },
  { name: "Delivered", unit: "/s", metric: "push_bridge_events_delivered_total" },
  { name: "Connections", unit: "", metric: "push_bridge_connections" },
  { name: "Lag", unit: "", metric: "push_bridge_lag" },
].map((each) => ({ ...each, series: new Series({ counts: each.unit === "/s" }) }));

function drawing() {
  const svg = document.createElementNS(SVG, "svg");
  const line = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", `0 -2 ${WIDTH} ${HEIGHT + 4}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(line);
  return { svg, line };
}

for (const each of SHOWN) {
  const { svg, line } = drawing();
  each.line = line;
  each.value = make("b", {}, "–");
  each.most = make("span", { className: "hint" });
  const said = make("p", { className: "rate" }, each.value, make("span", { className: "hint" }, each.unit), each.most);
  byId("rates-list").append(make("li", { data: { rate: each.name } }, make("h3", {}, each.name), said, svg));
}

function draw({ told, at, instance }) {
  const boot = told.sum("process_start_time_seconds");
  byId("rates-of").textContent = instance ?? "";
  for (const { series, metric, value, most, line } of SHOWN) {
    series.take({ at, who: instance, boot, value: told.sum(metric) });
    value.textContent = series.now === undefined ? "–" : rounded(series.now);
    most.textContent = series.most > 0 ? `at most ${rounded(series.most)}` : "";
    line.setAttribute("d", series.path(WIDTH, HEIGHT, at));
  }
}

new Poll(figures, draw, "rates-error");
