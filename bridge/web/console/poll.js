// Asks again and again, as long as somebody looks.
//
// Rules: never twice at a time; not while the page or the view is hidden; an answer to what is not
// asked for any more is not shown; a failure leaves what is shown as it is.

import { byId } from "./dom.js";

const SECONDS = 2;

const polls = [];
let open = false;
let heard = () => {};

const looked = () => open && document.visibilityState === "visible";

/** Asks for everything now. */
export const refresh = () => polls.forEach((poll) => poll.now());

/** Begins to ask, or ends it. */
export function go(on) {
  open = on;
  polls.forEach((poll) => poll.forget());
  if (on) refresh();
}

/** `take` is told what is wrong with any of the newest answers, or null, whenever there is one. */
export function onEnd(take) {
  heard = take;
}

export class Poll {
  #ask;
  #draw;
  #error;
  #timer;
  #trouble = null;
  #busy = false;
  #again = false;

  /**
   * `ask` promises what `draw` shows, null where there is nothing to ask; `error` is the id of the
   * element that says what is wrong.
   */
  constructor(ask, draw, error) {
    this.#ask = ask;
    this.#draw = draw;
    this.#error = error;
    polls.push(this);
  }

  forget() {
    this.#trouble = null;
  }

  /** Asks at once; if a question is under way its answer does not count any more. */
  now() {
    clearTimeout(this.#timer);
    if (this.#busy) this.#again = true;
    else if (looked()) this.#run();
  }

  async #run() {
    this.#busy = true;
    try {
      do {
        this.#again = false;
        await this.#once();
      } while (this.#again && looked());
    } finally {
      this.#busy = false;
      this.#timer = setTimeout(() => this.now(), SECONDS * 1000);
    }
  }

  static #worst() {
    const all = polls.map((poll) => poll.#trouble).filter((each) => each !== null);
    return all.find(({ status }) => status === 401) ?? all.find(({ status }) => status === 0) ?? all[0] ?? null;
  }

  async #once() {
    let [told, trouble] = [null, null];
    try {
      told = await this.#ask();
    } catch (error) {
      if (error.status === undefined) throw error;
      trouble = error;
    }
    if (this.#again || !open) return;
    if (told !== null) this.#draw(told);
    // Where nothing answers, or nobody is let in, that is said once for all.
    const own = trouble && trouble.status !== 0 && trouble.status !== 401;
    const said = own ? trouble.message : "";
    if (byId(this.#error).textContent !== said) byId(this.#error).textContent = said;
    this.#trouble = trouble;
    if (told !== null || trouble !== null) heard(Poll.#worst());
  }
}

document.addEventListener("visibilitychange", () => {
  if (looked()) refresh();
});
