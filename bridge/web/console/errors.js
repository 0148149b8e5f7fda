// Errors of calls to the bridge, each with a remedy.
//
// Rule: no error is shown without saying what to do.

const REMEDIES = new Map([
  [0, "The page retries every 2 seconds. If this persists, check the bridge's process and its log."],
  [400, "Reload this page."],
  [401, "Enter another one."],
  [403, "Open this page by a host name and an origin that the bridge allows."],
  [404, "If the API is off here, set BRIDGE_ADMIN_TOKENS, or open this page on BRIDGE_ADMIN_PORT."],
  [422, "Correct the input."],
  [429, "Wait one second, then repeat it."],
  [500, "See the bridge's log."],
]);

/** A failed call. `status` is HTTP's, or 0 if no response arrived. */
export class ApiError extends Error {
  constructor(status, detail, remedy = REMEDIES.get(status) ?? "") {
    super([status ? `${status}: ${detail}.` : `${detail}.`, remedy].join(" ").trim());
    this.status = status;
  }
}
