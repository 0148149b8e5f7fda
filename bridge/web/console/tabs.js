// The page's two views, selected by the fragment of its address.
//
// Rules: a hidden view neither renders nor sends requests. No element has the id `ops`: browsers
// scroll to the element that the fragment names, and move the focus.

import { byId } from "./dom.js";

const listeners = [];

/** The visible view: "ops" or "client". */
export const currentView = () => (location.hash === "#ops" ? "ops" : "client");

/** Calls `listener` with the view, now and after each change. */
export function onViewChange(listener) {
  listeners.push(listener);
  listener(currentView());
}

function showView() {
  const view = currentView();
  if (document.body.dataset.view === view) return;
  document.body.dataset.view = view;
  document.title = view === "ops" ? "Push bridge: operations" : "Push bridge";
  for (const name of ["client", "ops"]) {
    if (name === view) byId(`view-${name}`).setAttribute("aria-current", "page");
    else byId(`view-${name}`).removeAttribute("aria-current");
  }
  for (const listener of listeners) listener(view);
}

showView();
addEventListener("hashchange", showView);
