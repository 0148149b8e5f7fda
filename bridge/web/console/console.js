// The page: signs in, and joins the connection to what is shown of it.
//
// Rule: it keeps no credential beyond this tab's life, and asks this bridge only.

import { begin, chosen, moved } from "./subscriptions.js";
import { Connection } from "./connection.js";
import { byId, names } from "./dom.js";
import { addEvent, addGap, addNote, clear } from "./events.js";
import { addFrame, clearFrames } from "./frames.js";
import { prepare, suggest } from "./publish.js";
import { sentence, show, why } from "./status.js";
import { first } from "./config.js";
import { view } from "./tabs.js";

let told = { by_account: true };
let connection;

const REFUSED = `The bridge is there, but this page gets no connection. If BRIDGE_ALLOWED_ORIGINS is set, ${location.origin} has to be in it; and a proxy before the bridge has to pass WebSockets.`;

/** Shows who is signed in; "" brings back the form. */
function signedIn(yes) {
  byId("sign-in").hidden = yes;
  byId("desk").hidden = !yes;
  byId("leave").hidden = !yes;
  byId("who").hidden = !yes;
  document.querySelector(".skip").hidden = !yes;
  if (!yes && view() === "client") byId(told.by_account ? "account" : "token").focus();
}

async function changed(detail) {
  const { state, back, frame } = detail;
  show(state, sentence(detail));
  if (state === "live") {
    byId("who").textContent = frame.account ?? "no account";
    byId("who").title = `connection ${frame.connection}${frame.expires ? `, token expires ${frame.expires}` : ""}`;
    if (!back) suggest(frame.account);
    addNote("back", back ? `Back at ${frame.instance}, from where it was` : `Connected to ${frame.instance}`);
  }
  if (state === "waiting" && detail.welcomed) addNote("lost", `Closed: ${why(detail)}`);
  if (state === "over") addNote("lost", `Closed for good: ${why(detail)}`);
  if (state === "over" && !detail.welcomed) {
    signedIn(false);
    byId("why-not").textContent = `Refused: ${why(detail)}`;
  }
  if (state === "waiting" && detail.failures === 2 && !detail.opened) await explain();
}

/** Browsers hide why a WebSocket was refused: find out whether the bridge is there at all. */
async function explain() {
  try {
    if ((await fetch("readyz")).ok) addNote("lost", REFUSED);
  } catch {
    // It is not there: the state says so.
  }
}

function connect() {
  const account = byId("account").value.trim();
  const credential = told.by_account ? (account ? { account } : {}) : { token: byId("token").value.trim() };
  connection?.leave();
  clear();
  clearFrames();
  connection = new Connection(credential, names(byId("first-rooms").value));
  begin(connection);
  prepare();
  const on = (type, take) => connection.addEventListener(type, ({ detail }) => take(detail));
  on("state", changed);
  on("frame", addFrame);
  on("event", addEvent);
  on("gap", addGap);
  on("choice", chosen);
  on("rooms", moved);
  on("live", ({ replayed, instance }) => {
    addNote("back", `Caught up: ${replayed} replayed`);
    show("live", `Connected to ${instance}`);
  });
  on("heartbeat", ({ stale }) => {
    if (stale) show("stale", `Connected; Kafka has been away for ${Math.round(stale)} s`);
    else if (byId("state").dataset.state === "stale") show("live", "Connected; Kafka is back");
  });
  connection.open();
  byId("why-not").textContent = "";
  byId("who").textContent = account;
  signedIn(true);
  byId("new-room").focus();
}

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  connect();
});
byId("leave").addEventListener("click", () => {
  connection.leave();
  show("off", "Not connected");
  signedIn(false);
});
byId("again").addEventListener("click", () => connection.open());

const answer = await first;
told = answer.told ?? told;
byId("why-not").textContent = answer.why;
byId("by-account").hidden = !told.by_account;
byId("by-token").hidden = told.by_account;
byId("token").required = !told.by_account;
signedIn(false);
