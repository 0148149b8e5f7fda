// What went wrong with a call, and what to do about it.
//
// Rule: nobody is told that something failed without being told what to do.

const ADVICE = new Map([
  [0, "It is asked again every 2 seconds. If it stays away, see whether it runs, and its log."],
  [401, "Type another one."],
  [403, "Open this page by a name and an origin that the bridge allows."],
  [404, "If there is no API here, set BRIDGE_ADMIN_TOKENS, or open the page on BRIDGE_ADMIN_PORT."],
  [422, "Change what was typed."],
  [400, "Load this page again."],
  [500, "See its log."],
  [429, "Wait a second, and do it again."],
]);

/** What went wrong: HTTP's status, 0 where nothing answered, and a sentence with what to do. */
export class Trouble extends Error {
  constructor(status, detail, advice = ADVICE.get(status) ?? "") {
    super([status ? `${status}: ${detail}.` : `${detail}.`, advice].join(" ").trim());
    this.status = status;
  }
}
