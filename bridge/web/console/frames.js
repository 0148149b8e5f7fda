// The list of raw frames of the connection, newest first.
//
// Rule: a frame is shown as its text on the wire. Only a credential is hidden.

import { byId, createElement, timeOfDay, trimChildren } from "./dom.js";
import { redactToken } from "./lossless-json.js";

const MAX_FRAMES = 200;

export function addFrame({ text, op, isSent }) {
  const direction = createElement(
    "span", { className: "direction" },
    createElement("span", { ariaHidden: "true" }, isSent ? "↑" : "↓"),
    createElement("span", { className: "visually-hidden" }, isSent ? "sent" : "received"),
  );
  const line = createElement(
    "li", { className: isSent ? "out" : "in", data: { op } },
    direction, createElement("time", {}, timeOfDay()), createElement("code", {}, redactToken(text)),
  );
  byId("frames").prepend(line);
  trimChildren(byId("frames"), MAX_FRAMES);
}

export const clearFrames = () => byId("frames").replaceChildren();

byId("beats").addEventListener("change", ({ target }) => {
  byId("frames").classList.toggle("beats", target.checked);
});
