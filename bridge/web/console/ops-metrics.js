// Fetches `/metrics` once for all parts of the view that need it at the same time.

import { fetchText } from "./api.js";
import { MetricsSnapshot } from "./prometheus.js";

const MAX_AGE_MS = 1_000;

let cached = { at: -Infinity };

async function fetchSnapshot() {
  const metrics = new MetricsSnapshot(await fetchText("metrics"));
  const instance = metrics.label("push_bridge_build_info", "name");
  return { metrics, at: performance.now() / 1000, instance };
}

/** Returns a promise of the metrics, their time in seconds, and the name of their instance. */
export function fetchMetrics() {
  if (performance.now() - cached.at > MAX_AGE_MS) {
    cached = { at: performance.now(), response: fetchSnapshot() };
  }
  return cached.response;
}
