// Finds and creates elements of the page.
//
// Rule: everything from outside is inserted as text, never as HTML.

export const byId = (id) => document.getElementById(id);

/** Creates an element. `data` holds its data-* attributes; all other options are its properties. */
export function createElement(tag, { data = {}, ...properties } = {}, ...children) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  Object.assign(element.dataset, data);
  element.append(...children);
  return element;
}

/** Writes an element's text only if it differs, so that a selection in it survives. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The names in a comma-separated list. */
export const splitNames = (text) => text.split(",").map((name) => name.trim()).filter(Boolean);

/** The local time of day. */
export const timeOfDay = (date = new Date()) =>
  date.toLocaleTimeString([], { hour12: false, hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** Removes the oldest children of a list that has the newest first. */
export function trimChildren(list, maxChildren) {
  while (list.childElementCount > maxChildren) list.lastElementChild.remove();
}
