// Fetches data every two seconds while the view is visible.
//
// Rules: one request of a poll at a time, none while hidden. A response that is out of date is
// dropped. After an error the old data stays on the page.

import { byId, setText } from "./dom.js";

const INTERVAL_MS = 2_000;

const polls = [];
let isPolling = false;
let resultListener = () => {};

const isVisible = () => isPolling && document.visibilityState === "visible";

/** Fetches everything now. */
export const refreshAll = () => polls.forEach((poll) => poll.refresh());

export function startPolling() {
  isPolling = true;
  polls.forEach((poll) => poll.clearError());
  refreshAll();
}

export function stopPolling() {
  isPolling = false;
  polls.forEach((poll) => poll.clearError());
}

/** After each response `listener` gets the most severe current error of all polls, or null. */
export function onPollResult(listener) {
  resultListener = listener;
}

export class Poll {
  #fetch;
  #render;
  #errorId;
  #timer;
  #error = null;
  #isBusy = false;
  #isStale = false; // a newer request is needed

  /**
   * `fetch` returns a promise of what `render` shows, or of null if there is nothing to fetch.
   * `errorId` is the id of the element that shows an error.
   */
  constructor(fetch, render, errorId) {
    this.#fetch = fetch;
    this.#render = render;
    this.#errorId = errorId;
    polls.push(this);
  }

  clearError() {
    this.#error = null;
  }

  /** Fetches at once. The response of a request under way is dropped. */
  refresh() {
    clearTimeout(this.#timer);
    if (this.#isBusy) this.#isStale = true;
    else if (isVisible()) this.#run();
  }

  async #run() {
    this.#isBusy = true;
    try {
      do {
        this.#isStale = false;
        await this.#fetchOnce();
      } while (this.#isStale && isVisible());
    } finally {
      this.#isBusy = false;
      this.#timer = setTimeout(() => this.refresh(), INTERVAL_MS);
    }
  }

  static #mostSevereError() {
    const errors = polls.map((poll) => poll.#error).filter((error) => error !== null);
    return errors.find(({ status }) => status === 401)
      ?? errors.find(({ status }) => status === 0)
      ?? errors[0]
      ?? null;
  }

  async #fetchOnce() {
    let [result, error] = [null, null];
    try {
      result = await this.#fetch();
    } catch (caught) {
      if (caught.status === undefined) throw caught;
      error = caught;
    }
    if (this.#isStale || !isPolling) return;
    if (result !== null) this.#render(result);
    // No response and a wrong token concern all polls; the view shows these once.
    const isOwnError = error && error.status !== 0 && error.status !== 401;
    setText(byId(this.#errorId), isOwnError ? error.message : "");
    this.#error = error;
    if (result !== null || error !== null) resultListener(Poll.#mostSevereError());
  }
}

document.addEventListener("visibilitychange", () => {
  if (isVisible()) refreshAll();
});
