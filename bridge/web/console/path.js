// Builds the path of a call from names.
//
// Rule: a name is one part of a path, whatever characters it has. Browsers resolve `.` and `..`
// even when encoded, so these two names are rejected.

import { ApiError } from "./errors.js";

/** Joins and percent-encodes the parts of a path. */
export function buildPath(...parts) {
  if (parts.some((part) => part === "." || part === "..")) {
    throw new ApiError(422, "a browser cannot request the name . or ..", "Use the command push-bridge.");
  }
  try {
    return parts.map(encodeURIComponent).join("/");
  } catch {
    throw new ApiError(422, "the name is not valid Unicode");
  }
}
