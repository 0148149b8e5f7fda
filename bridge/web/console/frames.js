// The connection's frames as they are, newest first, with their direction.
//
// Rule: a frame is shown as the text that it was; only a credential is not.

import { byId, cap, clock, make } from "./dom.js";
import { shown } from "./lossless-json.js";

const MOST = 200;

export function addFrame({ text, op, out }) {
  const direction = make(
    "span", { className: "direction" },
    make("span", { ariaHidden: "true" }, out ? "↑" : "↓"),
    make("span", { className: "unseen" }, out ? "sent" : "received"),
  );
  const line = make(
    "li", { className: out ? "out" : "in", data: { op } },
    direction, make("time", {}, clock()), make("code", {}, shown(text)),
  );
  byId("frames").prepend(line);
  cap(byId("frames"), MOST);
}

export const clearFrames = () => byId("frames").replaceChildren();

byId("beats").addEventListener("change", ({ target }) => {
  byId("frames").classList.toggle("beats", target.checked);
});
