// The path of a call.
//
// Rule: a name is one part of a path, whatever it has. `.` and `..` are none that a browser can
// ask for: it would ask for something else.

import { Trouble } from "./errors.js";

/** The path of a call, of whose parts some are names. */
export function path(...parts) {
  if (parts.some((part) => part === "." || part === "..")) {
    throw new Trouble(422, "a browser can not ask for the name . or ..", "Use the command push-bridge.");
  }
  try {
    return parts.map(encodeURIComponent).join("/");
  } catch {
    throw new Trouble(422, "that is no Unicode text");
  }
}
