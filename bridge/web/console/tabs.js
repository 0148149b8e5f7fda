// The page's two views, told apart by what is behind the address's #.
//
// Rules: a view that is not looked at is not drawn, and asks nothing of the bridge. No element has
// the id `ops`: a browser would go to it, and take the focus away.

import { byId } from "./dom.js";

const listeners = [];

/** Which view is looked at: "ops" or "client". */
export const view = () => (location.hash === "#ops" ? "ops" : "client");

/** Calls `take` with the view, now and whenever it is another one. */
export function onView(take) {
  listeners.push(take);
  take(view());
}

function show() {
  const now = view();
  if (document.body.dataset.view === now) return;
  document.body.dataset.view = now;
  document.title = now === "ops" ? "Push bridge: operations" : "Push bridge";
  for (const each of ["client", "ops"]) {
    if (each === now) byId(`view-${each}`).setAttribute("aria-current", "page");
    else byId(`view-${each}`).removeAttribute("aria-current");
  }
  for (const take of listeners) take(now);
}

show();
addEventListener("hashchange", show);
