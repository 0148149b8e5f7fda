// Calls of `/v1`, and of what else the bridge tells an operator.
//
// Rule: an answer comes within ten seconds, whole, or there was none.

import { told as dated } from "./format.js";
import { request } from "./admin.js";
import { path } from "./path.js";
import { Trouble } from "./errors.js";

const PATIENCE = 10_000;

function queried(query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

async function detail(answer) {
  try {
    const told = await answer.json();
    return String(told.detail).replace(/[.]$/, "");
  } catch {
    return answer.statusText || "refused";
  }
}

/** The answer to a request, if it is a good one. */
export async function answered(url, given = {}) {
  let answer;
  try {
    answer = await request(url, { signal: AbortSignal.timeout(PATIENCE), ...given });
  } catch {
    throw new Trouble(0, "The bridge does not answer");
  }
  dated(answer.headers.get("Date"));
  if (!answer.ok) throw new Trouble(answer.status, await detail(answer));
  return answer;
}

async function whole(answer, read) {
  try {
    return await answer[read]();
  } catch {
    throw new Trouble(0, "The bridge's answer broke off");
  }
}

/** What `/v1/...` answers; what a `query` has that is empty is not asked for. */
export async function call(method, parts, { query = {}, body } = {}) {
  const given = { method };
  if (body !== undefined) {
    given.body = JSON.stringify(body);
    given.headers = { "Content-Type": "application/json" };
  }
  return whole(await answered(path("v1", ...parts) + queried(query), given), "json");
}

/** The text of a page that is no JSON. */
export const text = async (url) => whole(await answered(url), "text");
