// A table whose rows stay the same elements as long as they tell of the same thing.
//
// Rules: only text that has changed is written, so a selection stays; rows are never moved, so the
// focus stays; where a row with the focus goes, a neighbour gets it. Items come in one order always.

import { byId, make } from "./dom.js";

const put = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};

/** A part of a cell: text of `className`; `given` may have `title`. What is "" is not there. */
export const text = (className, of, given = {}) => ({ name: "span", className, of, ...given });

/** A button in a cell: `act` is called with the item, `label` is what it is called for those who do not see. */
export const button = (className, of, act, given = {}) => ({ name: "button", className, of, act, ...given });

export class Table {
  #body;
  #columns;
  #key;
  #rows = new Map();

  /** `columns` are [heading, ...parts]; `key` tells one item from all others. */
  constructor(id, columns, key) {
    this.#columns = columns;
    this.#key = key;
    this.#body = make("tbody", { role: "rowgroup" });
    const heads = columns.map(([head]) => make("th", { scope: "col", role: "columnheader", data: { head } }, head));
    const table = byId(id);
    table.role = "table";
    table.tabIndex = -1;
    table.append(make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)), this.#body);
  }

  /** Shows these items and no others. */
  draw(items) {
    const keys = items.map(this.#key);
    this.#remove(new Set(keys));
    let next = this.#body.firstElementChild;
    for (const [place, item] of items.entries()) {
      const row = this.#rows.get(keys[place]) ?? this.#row(keys[place]);
      this.#fill(row, item);
      if (row.element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(row.element, next);
    }
  }

  #remove(kept) {
    const rows = [...this.#body.children];
    const place = rows.findIndex((each) => each.contains(document.activeElement));
    const { className } = document.activeElement ?? {};
    const lost = place >= 0 && !kept.has(this.#keyOf(rows[place]));
    const heirs = rows.slice(place + 1).concat(rows.slice(0, Math.max(place, 0)).reverse());
    const heir = lost && heirs.find((each) => kept.has(this.#keyOf(each)));
    for (const [key, { element }] of this.#rows) {
      if (kept.has(key)) continue;
      element.remove();
      this.#rows.delete(key);
    }
    if (lost) (heir?.querySelector(`button[class="${className}"]`) ?? this.#body.parentElement).focus();
  }

  #keyOf(element) {
    for (const [key, row] of this.#rows) if (row.element === element) return key;
    return undefined;
  }

  #row(key) {
    const row = { item: null, parts: [] };
    const cells = this.#columns.map(([head, ...parts]) => {
      const nodes = parts.map((part) => this.#part(row, part));
      return make("td", { role: "cell", data: { head } }, ...nodes);
    });
    row.element = make("tr", { role: "row" }, ...cells);
    this.#rows.set(key, row);
    return row;
  }

  #part(row, part) {
    const node = make(part.name, { className: part.className });
    if (part.act) {
      node.type = "button";
      node.addEventListener("click", () => part.act(row.item, node));
    }
    row.parts.push([node, part]);
    return node;
  }

  #fill(row, item) {
    row.item = item;
    for (const [node, part] of row.parts) {
      const said = part.of(item);
      put(node, said);
      if (node.hidden !== (said === "")) node.hidden = said === "";
      const title = part.title?.(item) ?? "";
      if (node.title !== title) node.title = title;
      if (part.label && node.ariaLabel !== part.label(item)) node.ariaLabel = part.label(item);
    }
  }
}
