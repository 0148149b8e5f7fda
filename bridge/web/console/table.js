// A table that updates its rows in place.
//
// Rules: only changed text is written, so a selection survives. Rows never move, so the focus
// survives; if the focused row goes, a neighbour gets the focus. Items always come in one order.

import { byId, createElement, setText } from "./dom.js";

/** Text in a cell. `value` computes it from the item; "" hides it. `options` may have `title`. */
export const textPart = (className, value, options = {}) =>
  ({ tag: "span", className, value, ...options });

/** A button in a cell. `onClick` gets the item; `label` computes its accessible name. */
export const buttonPart = (className, value, onClick, options = {}) =>
  ({ tag: "button", className, value, onClick, ...options });

export class Table {
  #body;
  #columns;
  #keyOf;
  #rowsByKey = new Map();

  /** `columns` are [heading, ...parts]; `keyOf` returns an item's unique key. */
  constructor(id, columns, keyOf) {
    this.#columns = columns;
    this.#keyOf = keyOf;
    this.#body = createElement("tbody", { role: "rowgroup" });
    const headings = columns.map(([heading]) =>
      createElement("th", { scope: "col", role: "columnheader", data: { heading } }, heading));
    const headRow = createElement("tr", { role: "row" }, ...headings);
    const table = byId(id);
    table.role = "table";
    table.tabIndex = -1;
    table.append(createElement("thead", { role: "rowgroup" }, headRow), this.#body);
  }

  /** Shows exactly these items. */
  render(items) {
    const keys = items.map(this.#keyOf);
    this.#removeOthers(new Set(keys));
    let next = this.#body.firstElementChild;
    for (const [index, item] of items.entries()) {
      const row = this.#rowsByKey.get(keys[index]) ?? this.#createRow(keys[index]);
      this.#updateRow(row, item);
      if (row.element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(row.element, next);
    }
  }

  #removeOthers(keptKeys) {
    const elements = [...this.#body.children];
    const focusedIndex = elements.findIndex((element) => element.contains(document.activeElement));
    const { className } = document.activeElement ?? {};
    const losesFocus = focusedIndex >= 0 && !keptKeys.has(this.#keyOfElement(elements[focusedIndex]));
    const neighbours = elements.slice(focusedIndex + 1)
      .concat(elements.slice(0, Math.max(focusedIndex, 0)).reverse());
    const heir = losesFocus
      && neighbours.find((element) => keptKeys.has(this.#keyOfElement(element)));
    for (const [key, { element }] of this.#rowsByKey) {
      if (keptKeys.has(key)) continue;
      element.remove();
      this.#rowsByKey.delete(key);
    }
    const sameButton = losesFocus && heir?.querySelector(`button[class="${className}"]`);
    if (losesFocus) (sameButton ?? this.#body.parentElement).focus();
  }

  #keyOfElement(element) {
    for (const [key, row] of this.#rowsByKey) if (row.element === element) return key;
    return undefined;
  }

  #createRow(key) {
    const row = { item: null, parts: [] };
    const cells = this.#columns.map(([heading, ...parts]) => {
      const nodes = parts.map((part) => this.#createPart(row, part));
      return createElement("td", { role: "cell", data: { heading } }, ...nodes);
    });
    row.element = createElement("tr", { role: "row" }, ...cells);
    this.#rowsByKey.set(key, row);
    return row;
  }

  #createPart(row, part) {
    const node = createElement(part.tag, { className: part.className });
    if (part.onClick) {
      node.type = "button";
      node.addEventListener("click", () => part.onClick(row.item, node));
    }
    row.parts.push([node, part]);
    return node;
  }

  #updateRow(row, item) {
    row.item = item;
    for (const [node, part] of row.parts) {
      const text = part.value(item);
      setText(node, text);
      if (node.hidden !== (text === "")) node.hidden = text === "";
      const title = part.title?.(item) ?? "";
      if (node.title !== title) node.title = title;
      if (part.label && node.ariaLabel !== part.label(item)) node.ariaLabel = part.label(item);
    }
  }
}
