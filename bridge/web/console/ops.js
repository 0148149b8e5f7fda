// The view for operators: what runs, what is read, who is where.
//
// Rule: it asks for the token where it needs one, and shows what it has shown before where the
// bridge does not answer, dimmed.

import { known, type } from "./admin.js";
import { byId } from "./dom.js";
import "./ops-rates.js";
import "./ops-instances.js";
import "./ops-feeds.js";
import "./ops-rooms.js";
import "./ops-connections.js";
import { go, onEnd } from "./poll.js";
import { Trouble } from "./errors.js";
import { onView, view } from "./tabs.js";

const RETRY_MS = 2_000;
const AWAY = new Trouble(0, "The bridge does not answer").message;

let timer;

function show(state, text, trouble = "") {
  byId("operations").dataset.state = state;
  byId("ops-state").dataset.state = { up: "live", away: "waiting" }[state] ?? "off";
  for (const [id, said] of [["ops-state-text", text], ["ops-trouble", trouble]]) {
    if (byId(id).textContent !== said) byId(id).textContent = said;
  }
}

function need(why) {
  go(false);
  show("locked", "Needs the admin token");
  byId("ops-why").textContent = why;
  byId("ops-desk").hidden = true;
  byId("ops-sign-in").hidden = false;
  byId("ops-token").focus();
}

async function begin() {
  clearTimeout(timer);
  const has = await known();
  if (view() !== "ops") return;
  if (has === "away") {
    show("away", "No answer", AWAY);
    timer = setTimeout(begin, RETRY_MS);
  } else if (has === "no") {
    need("");
  } else {
    byId("ops-desk").hidden = false;
    byId("ops-sign-in").hidden = true;
    go(true);
  }
}

onEnd((trouble) => {
  if (view() !== "ops" || byId("ops-desk").hidden) return;
  if (trouble?.status === 401) need(trouble.message);
  else if (trouble?.status === 0) show("away", "No answer", trouble.message);
  else show("up", "Fresh every 2 s");
});

byId("ops-sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  type(byId("ops-token").value);
  byId("ops-token").value = "";
  begin();
});

onView((now) => {
  if (now === "ops") begin();
  else go(false);
});
