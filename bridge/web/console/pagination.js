// Turns the pages of a long list of `/v1`.
//
// Rule: a page is asked for by what the one before it has said; the way back is remembered.

import { byId, make } from "./dom.js";

export class Pager {
  #size;
  #changed;
  #before = [];
  #page = null; // null: the first one
  #next = null;
  #element;
  #back = make("button", { type: "button" }, "Back");
  #on = make("button", { type: "button" }, "Next");
  #where = make("span", { className: "hint" });

  /** `changed` is called where another page is to be asked for. */
  constructor(id, size, changed) {
    this.#size = size;
    this.#changed = changed;
    this.#element = byId(id);
    this.#element.append(this.#back, this.#where, this.#on);
    this.#back.addEventListener("click", () => this.#turn(this.#before.pop() ?? null));
    this.#on.addEventListener("click", () => {
      this.#before.push(this.#page);
      this.#turn(this.#next);
    });
  }

  /** What to ask for. */
  get query() {
    return { limit: this.#size, page: this.#page };
  }

  /** Begins anew, for another list. */
  reset() {
    this.#before = [];
    this.#turn(null);
  }

  /** Takes note of a page; says whether it is one to show, and else asks for the one before it. */
  took({ items, next }) {
    this.#next = next;
    if (!items.length && this.#before.length) {
      this.#turn(this.#before.pop());
      return false;
    }
    this.#draw();
    return true;
  }

  #turn(page) {
    this.#page = page;
    this.#next = null;
    this.#changed();
  }

  #draw() {
    const number = this.#before.length + 1;
    if (this.#where.textContent !== `Page ${number}`) this.#where.textContent = `Page ${number}`;
    const held = document.activeElement;
    this.#back.disabled = number === 1;
    this.#on.disabled = this.#next === null;
    this.#element.hidden = number === 1 && this.#next === null;
    if (held === this.#on && held.disabled) this.#back.focus();
    if (held === this.#back && held.disabled) this.#on.focus();
  }
}
