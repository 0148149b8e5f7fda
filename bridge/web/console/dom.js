// Elements of the page: found by id, or made.
//
// Rule: what comes from outside goes in as text, here and everywhere; nothing reads it as HTML.

export const byId = (id) => document.getElementById(id);

/** Makes an element; `given` are its properties, of which `data` is its data-* attributes. */
export function make(name, { data = {}, ...given } = {}, ...children) {
  const element = document.createElement(name);
  Object.assign(element, given);
  Object.assign(element.dataset, data);
  element.append(...children);
  return element;
}

/** The names in a text, of which commas are between. */
export const names = (text) => text.split(",").map((each) => each.trim()).filter(Boolean);

/** The time of day, as it is where the page is looked at. */
export const clock = (at = new Date()) =>
  at.toLocaleTimeString([], { hour12: false, hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** Takes out the oldest children of a list that has the newest first. */
export function cap(list, most) {
  while (list.childElementCount > most) list.lastElementChild.remove();
}
