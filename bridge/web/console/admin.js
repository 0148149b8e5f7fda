// The admin token, and requests with it.
//
// Rules: what is typed is in one field of this tab and nowhere else. `dev` hands its token to the
// page and makes another one at each start, so after a 401 the page asks for it again.

import { byId } from "./dom.js";
import { ask, first } from "./config.js";

let handed = null; // undefined: the bridge has not said
let renewing;

function take({ told }) {
  handed = told ? told.admin_token : handed ?? undefined;
  byId("admin").hidden = typeof handed === "string";
}

const ready = first.then(take);

function renew() {
  renewing ??= ask().then(take).finally(() => { renewing = undefined; });
  return renewing;
}

// A token has visible ASCII only; whatever else was typed is a wrong one, and no header either.
const token = () => handed ?? byId("admin-token").value.trim().replace(/[^!-~]/g, "?");

/** Takes what was typed elsewhere for the token. */
export function type(text) {
  byId("admin-token").value = text;
}

/** Whether there is a token: "yes", "no", or "away" where the bridge has to say and does not. */
export async function known() {
  await ready;
  if (handed === undefined) await renew();
  if (token()) return "yes";
  return handed === undefined ? "away" : "no";
}

/** What `fetch` is, with the token. */
export async function request(path, { headers = {}, ...given } = {}) {
  await ready;
  const go = () => fetch(path, { ...given, headers: { ...headers, Authorization: `Bearer ${token()}` } });
  const before = handed;
  const answer = await go();
  if (answer.status !== 401 || !before) return answer;
  if (handed === before) await renew();
  return handed === before ? answer : go();
}
