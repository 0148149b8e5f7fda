// Holds the admin token and sends requests with it.
//
// Rules: a typed token stays in one field of this tab. `dev` hands its token to the page and
// creates a new one at each start, so the page fetches it again after a 401.

import { byId } from "./dom.js";
import { fetchConfig, initialConfig } from "./config.js";

let providedToken = null; // undefined: the configuration has not arrived yet
let refreshing;

function applyConfig({ config }) {
  providedToken = config ? config.admin_token : providedToken ?? undefined;
  byId("admin").hidden = typeof providedToken === "string";
}

const ready = initialConfig.then(applyConfig);

function refreshConfig() {
  refreshing ??= fetchConfig().then(applyConfig).finally(() => { refreshing = undefined; });
  return refreshing;
}

// A header takes visible ASCII only. "?" keeps a wrong token wrong.
const currentToken = () => providedToken ?? byId("admin-token").value.trim().replace(/[^!-~]/g, "?");

/** Stores a token that the operator typed in another form. */
export function setToken(token) {
  byId("admin-token").value = token;
}

/** "available", "missing", or "unknown" while the configuration cannot be fetched. */
export async function tokenStatus() {
  await ready;
  if (providedToken === undefined) await refreshConfig();
  if (currentToken()) return "available";
  return providedToken === undefined ? "unknown" : "missing";
}

/** `fetch` with the admin token. */
export async function authorizedFetch(url, { headers = {}, ...options } = {}) {
  await ready;
  const send = () =>
    fetch(url, { ...options, headers: { ...headers, Authorization: `Bearer ${currentToken()}` } });
  const usedToken = providedToken;
  const response = await send();
  if (response.status !== 401 || !usedToken) return response;
  if (providedToken === usedToken) await refreshConfig();
  return providedToken === usedToken ? response : send();
}
