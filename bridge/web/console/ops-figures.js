// What `/metrics` says, asked once for all who want to know at the same time.

import { text } from "./api.js";
import { Figures } from "./prometheus.js";

const FRESH_MS = 1_000;

let last = { at: -Infinity };

async function read() {
  const told = new Figures(await text("metrics"));
  return { told, at: performance.now() / 1000, instance: told.label("push_bridge_build_info", "name") };
}

/** The figures, the time of them in seconds, and the instance that they are of. */
export function figures() {
  if (performance.now() - last.at > FRESH_MS) last = { at: performance.now(), answer: read() };
  return last.answer;
}
