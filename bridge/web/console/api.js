// Calls of `/v1` and of the other endpoints for operators.
//
// Rule: a response is complete within ten seconds, or the call fails.

import { syncClock } from "./format.js";
import { authorizedFetch } from "./admin.js";
import { buildPath } from "./path.js";
import { ApiError } from "./errors.js";

const TIMEOUT_MS = 10_000;

function queryString(query) {
  const present = Object.entries(query)
    .filter(([, value]) => value !== undefined && value !== null && value !== "");
  return present.length ? `?${new URLSearchParams(present)}` : "";
}

async function problemDetail(response) {
  try {
    const problem = await response.json();
    return String(problem.detail).replace(/[.]$/, "");
  } catch {
    return response.statusText || "refused";
  }
}

async function fetchOk(url, options = {}) {
  let response;
  try {
    response = await authorizedFetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), ...options });
  } catch {
    throw new ApiError(0, "The bridge does not answer");
  }
  syncClock(response.headers.get("Date"));
  if (!response.ok) throw new ApiError(response.status, await problemDetail(response));
  return response;
}

async function readBody(response, method) {
  try {
    return await response[method]();
  } catch {
    throw new ApiError(0, "The bridge's response ended early");
  }
}

/** Calls `/v1/...` and returns the JSON of its response. Empty values of `query` are omitted. */
export async function callApi(method, parts, { query = {}, body } = {}) {
  const options = { method };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  return readBody(await fetchOk(buildPath("v1", ...parts) + queryString(query), options), "json");
}

/** Fetches a resource that is plain text. */
export const fetchText = async (url) => readBody(await fetchOk(url), "text");
