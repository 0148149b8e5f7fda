// The connection's state as one line, which screen readers announce.
//
// Rule: a close is shown with its code and with what happens next.

import { byId, setText } from "./dom.js";

const REASONS_WITHOUT_FRAME = new Map([
  [1006, "the connection broke"],
  [1001, "the bridge went away"],
]);

/** The sentence of a refusal by HTTP, whose body is a problem (RFC 9457); other reasons as they are. */
function describeReason(reason) {
  try {
    const { detail, title } = JSON.parse(reason);
    return String(detail ?? title ?? "");
  } catch {
    return /^\s*</.test(reason ?? "") ? "" : reason; // a proxy's HTML page says less than the code
  }
}

/** The code and the reason of a close. */
export const formatClose = ({ code, reason }) =>
  `${code} ${describeReason(reason) || REASONS_WITHOUT_FRAME.get(code) || "closed"}`;

/** Shows a state: off, connecting, live, stale, waiting or closed. */
export function showState(state, text) {
  byId("state").dataset.state = state;
  setText(byId("state-text"), text);
  const reconnect = byId("again");
  const canReconnect = state === "waiting" || state === "closed";
  if (!canReconnect && document.activeElement === reconnect) byId("leave").focus();
  reconnect.hidden = !canReconnect;
  byId("choice").inert = state === "closed"; // nothing can be joined without a connection
}

/** The sentence for a `state` event of the connection. */
export function describeState(event) {
  const { state, isReconnect, isStream, welcome, waitSeconds, isReplaying } = event;
  if (state === "connecting") return isReconnect ? "Reconnecting…" : "Connecting…";
  if (state === "live") {
    const transport = isStream ? " by an event stream" : "";
    return `Connected to ${welcome.instance}${transport}${isReplaying ? ", catching up…" : ""}`;
  }
  if (state === "closed") return `Closed for good: ${formatClose(event)}`;
  const when = waitSeconds < 1 ? "now" : `in ${Math.round(waitSeconds)} s`;
  return `Closed: ${formatClose(event)}; reconnecting ${when}`;
}
