// How the connection is, in one line that is read out too.
//
// Rule: a close is told with its code, and with what happens next.

import { byId } from "./dom.js";

const BROKEN = new Map([[1006, "the connection broke"], [1001, "the bridge went away"]]);

/** Why it closed, in words. */
export const why = ({ code, reason }) => `${code} ${reason || BROKEN.get(code) || "closed"}`;

/** Shows a state: off, connecting, live, stale, waiting or over. */
export function show(state, text) {
  byId("state").dataset.state = state;
  if (byId("state-text").textContent !== text) byId("state-text").textContent = text;
  const again = byId("again");
  if (state !== "waiting" && document.activeElement === again) byId("leave").focus();
  again.hidden = state !== "waiting";
}

/** What to say of a detail of the connection's `state`. */
export function sentence(detail) {
  const { state, back, frame, wait, catching } = detail;
  if (state === "connecting") return back ? "Coming back…" : "Connecting…";
  if (state === "live") return `Connected to ${frame.instance}${catching ? ", catching up…" : ""}`;
  if (state === "over") return `Closed for good: ${why(detail)}`;
  const seconds = wait < 1 ? "in a moment" : `in ${Math.round(wait)} s`;
  return `Closed: ${why(detail)}; back ${seconds}`;
}
