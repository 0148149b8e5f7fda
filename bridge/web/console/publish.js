// Publishes an event by `POST /v1/events`.
//
// Rule: after an unknown outcome the same event is sent again with the same id.

import { authorizedFetch } from "./admin.js";
import { byId, splitNames } from "./dom.js";
import { encodeWithData } from "./lossless-json.js";

let unacknowledged; // the last request of unknown outcome: its fields, data and id

const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

function showResult(kind, text) {
  byId("sent").className = kind;
  byId("sent").textContent = text;
}

export const clearPublishResult = () => showResult("", "");

/** Fills in the account that signed in, so that its first event comes back to it. */
export function fillAccount(account) {
  byId("send-accounts").value = account ?? "";
}

function readForm() {
  const fields = { topic: byId("send-topic").value };
  const audience = {
    accounts: splitNames(byId("send-accounts").value),
    rooms: splitNames(byId("send-rooms").value),
  };
  for (const [key, names] of Object.entries(audience)) if (names.length) fields[key] = names;
  if (byId("send-all").checked) fields.all = true;
  if (byId("send-type").value.trim()) fields.type = byId("send-type").value.trim();
  const data = byId("send-data").value.trim() || "null";
  const isRetry = unacknowledged?.data === data && unacknowledged.fields === JSON.stringify(fields);
  const id = isRetry ? unacknowledged.id : newId();
  unacknowledged = { data, fields: JSON.stringify(fields), id };
  return encodeWithData({ id, ...fields }, data);
}

async function publish() {
  let body;
  try {
    body = readForm();
  } catch {
    showResult("error", 'Data is not JSON. A text needs quotes: "hello"');
    byId("send-data").focus();
    return;
  }
  const headers = { "Content-Type": "application/json" };
  showResult("", "Sending…");
  try {
    const response = await authorizedFetch("v1/events", { method: "POST", headers, body });
    const result = await response.json();
    if (response.ok) showResult("done", `Written at ${result.at}`);
    else showResult("error", `${response.status}: ${result.detail}`);
    if (response.status !== 503) unacknowledged = undefined;
  } catch {
    showResult("error", "No response: the event may or may not be written. Send it again: it keeps its id.");
  }
}

byId("send").addEventListener("submit", (event) => {
  event.preventDefault();
  publish();
});
