// The connection's state as one line, which screen readers announce.
//
// Rule: a close is shown with its code and with what happens next.

import { byId, setText } from "./dom.js";

const REASONS_WITHOUT_FRAME = new Map([
  [1006, "the connection broke"],
  [1001, "the bridge went away"],
]);

/** The code and the reason of a close. */
export const formatClose = ({ code, reason }) =>
  `${code} ${reason || REASONS_WITHOUT_FRAME.get(code) || "closed"}`;

/** Shows a state: off, connecting, live, stale, waiting or closed. */
export function showState(state, text) {
  byId("state").dataset.state = state;
  setText(byId("state-text"), text);
  const reconnect = byId("again");
  if (state !== "waiting" && document.activeElement === reconnect) byId("leave").focus();
  reconnect.hidden = state !== "waiting";
}

/** The sentence for a `state` event of the connection. */
export function describeState(event) {
  const { state, isReconnect, welcome, waitSeconds, isReplaying } = event;
  if (state === "connecting") return isReconnect ? "Reconnecting…" : "Connecting…";
  if (state === "live") return `Connected to ${welcome.instance}${isReplaying ? ", catching up…" : ""}`;
  if (state === "closed") return `Closed for good: ${formatClose(event)}`;
  const when = waitSeconds < 1 ? "now" : `in ${Math.round(waitSeconds)} s`;
  return `Closed: ${formatClose(event)}; reconnecting ${when}`;
}
