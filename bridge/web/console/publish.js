// Sends an event by `POST /v1/events`.
//
// Rule: where it is not known whether an event was written, the next try has the same id.

import { request } from "./admin.js";
import { byId, names } from "./dom.js";
import { withData } from "./lossless-json.js";

let unsure; // the last request of which nobody knows: its fields and its id

const newId = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((each) => each.toString(16).padStart(2, "0")).join("");

/** Begins anew, with another client. */
export function prepare() {
  say("", "");
}

/** Fills in the account that has signed in, so that its first event comes back to it. */
export function suggest(account) {
  byId("send-accounts").value = account ?? "";
}

function say(kind, text) {
  byId("sent").className = kind;
  byId("sent").textContent = text;
}

function read() {
  const fields = { topic: byId("send-topic").value };
  const lists = { accounts: names(byId("send-accounts").value), rooms: names(byId("send-rooms").value) };
  for (const [key, list] of Object.entries(lists)) if (list.length) fields[key] = list;
  if (byId("send-all").checked) fields.all = true;
  if (byId("send-type").value.trim()) fields.type = byId("send-type").value.trim();
  const data = byId("send-data").value.trim() || "null";
  const same = unsure?.data === data && unsure.fields === JSON.stringify(fields);
  const id = same ? unsure.id : newId();
  unsure = { data, fields: JSON.stringify(fields), id };
  return withData({ id, ...fields }, data);
}

async function send() {
  let body;
  try {
    body = read();
  } catch {
    say("error", 'Data is not JSON; text has quotes of its own: "hello"');
    byId("send-data").focus();
    return;
  }
  const headers = { "Content-Type": "application/json" };
  say("", "Sending…");
  try {
    const answer = await request("v1/events", { method: "POST", headers, body });
    const told = await answer.json();
    if (answer.ok) say("done", `Written at ${told.at}`);
    else say("error", `${answer.status}: ${told.detail}`);
    if (answer.status !== 503) unsure = undefined;
  } catch {
    say("error", "No answer: it may have been written or not. Send again: it keeps its id.");
  }
}

byId("send").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
