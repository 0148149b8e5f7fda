// The pages of a long list of `/v1`.
//
// Rule: a page is requested by the previous page's `next`. Earlier pages are remembered.

import { byId, createElement, setText } from "./dom.js";

export class Pager {
  #pageSize;
  #onChange;
  #previousPages = [];
  #page = null; // null: the first page
  #nextPage = null;
  #element;
  #backButton = createElement("button", { type: "button" }, "Back");
  #nextButton = createElement("button", { type: "button" }, "Next");
  #pageNumber = createElement("span", { className: "hint" });

  /** `onChange` is called when another page must be fetched. */
  constructor(id, pageSize, onChange) {
    this.#pageSize = pageSize;
    this.#onChange = onChange;
    this.#element = byId(id);
    this.#element.append(this.#backButton, this.#pageNumber, this.#nextButton);
    this.#backButton.addEventListener("click", () => this.#goTo(this.#previousPages.pop() ?? null));
    this.#nextButton.addEventListener("click", () => {
      this.#previousPages.push(this.#page);
      this.#goTo(this.#nextPage);
    });
  }

  /** The query parameters of the current page. */
  get query() {
    return { limit: this.#pageSize, page: this.#page };
  }

  /** Goes back to the first page, for another list. */
  reset() {
    this.#previousPages = [];
    this.#goTo(null);
  }

  /** Accepts a fetched page. Returns false if it is empty and the previous one is fetched instead. */
  accept({ items, next }) {
    this.#nextPage = next;
    if (!items.length && this.#previousPages.length) {
      this.#goTo(this.#previousPages.pop());
      return false;
    }
    this.#render();
    return true;
  }

  #goTo(page) {
    this.#page = page;
    this.#nextPage = null;
    this.#onChange();
  }

  #render() {
    const number = this.#previousPages.length + 1;
    setText(this.#pageNumber, `Page ${number}`);
    const focused = document.activeElement;
    this.#backButton.disabled = number === 1;
    this.#nextButton.disabled = this.#nextPage === null;
    this.#element.hidden = number === 1 && this.#nextPage === null;
    if (focused === this.#nextButton && focused.disabled) this.#backButton.focus();
    if (focused === this.#backButton && focused.disabled) this.#nextButton.focus();
  }
}
