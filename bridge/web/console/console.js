// The client view: signs in and shows what its connection receives.
//
// Rule: credentials live as long as this tab. Requests go to this bridge only.

import { applyRoomChanges, resetSubscriptions, showSubscriptions } from "./subscriptions.js";
import { Connection } from "./connection.js";
import { byId, setText, splitNames } from "./dom.js";
import { addEvent, addGap, addNote, clearEvents } from "./events.js";
import { addFrame, clearFrames } from "./frames.js";
import { clearPublishResult, fillAccount } from "./publish.js";
import { describeState, formatClose, showState } from "./status.js";
import { initialConfig } from "./config.js";
import { currentView } from "./tabs.js";

let config = { by_account: true };
let connection;

const ORIGIN_HINT = `If BRIDGE_ALLOWED_ORIGINS is set, add ${location.origin} to it. A proxy in front of the bridge must pass WebSocket upgrades.`;

function showSignedIn(isSignedIn) {
  byId("sign-in").hidden = isSignedIn;
  byId("desk").hidden = !isSignedIn;
  byId("leave").hidden = !isSignedIn;
  byId("who").hidden = !isSignedIn;
  if (!isSignedIn) byId("again").hidden = true;
  document.querySelector(".skip").hidden = !isSignedIn;
  if (!isSignedIn && currentView() === "client") byId(config.by_account ? "account" : "token").focus();
}

function showWelcome({ account, connection: id, expires, instance }, isReconnect, isStream) {
  byId("who").textContent = account ?? "no account";
  byId("who").title = `connection ${id}${expires ? `, token expires ${expires}` : ""}`;
  if (!isReconnect) fillAccount(account);
  const note = isReconnect ? `Reconnected to ${instance}, resumed at the last cursor` : `Connected to ${instance}`;
  addNote("connected", note);
  if (isStream) addNote("closed", `No WebSocket opens, so this is an event stream. ${ORIGIN_HINT}`);
}

async function onState(event) {
  const { state, isReconnect, isStream, welcome } = event;
  showState(state, describeState(event));
  if (state === "live") showWelcome(welcome, isReconnect, isStream);
  if (state === "waiting" && event.isWelcomed) addNote("closed", `Closed: ${formatClose(event)}`);
  if (state === "closed") addNote("closed", `Closed for good: ${formatClose(event)}`);
  if (state === "closed" && !event.isWelcomed) {
    showSignedIn(false);
    byId("why-not").textContent = `Refused: ${formatClose(event)}`;
  }
  // The third attempt is an event stream. If that fails too, nothing connects.
  if (state === "waiting" && event.failures === 3 && !event.isOpened) await explainFailure();
}

/** Browsers hide why a WebSocket was refused. A plain request shows whether the bridge answers. */
async function explainFailure() {
  try {
    if ((await fetch("readyz")).ok) addNote("closed", `The bridge answers, but refuses the connection. ${ORIGIN_HINT}`);
  } catch {
    // The bridge does not answer; the state line already shows that.
  }
}

function onLive({ replayed, instance }) {
  addNote("connected", `Caught up: ${replayed} replayed`);
  setText(byId("state-text"), byId("state-text").textContent.replace(", catching up…", ""));
  showState("live", byId("state-text").textContent || `Connected to ${instance}`);
}

function onHeartbeat({ stale }) {
  if (stale) showState("stale", `Connected; Kafka unreachable for ${Math.round(stale)} s`);
  else if (byId("state").dataset.state === "stale") showState("live", "Connected; Kafka is back");
}

function connect() {
  const account = byId("account").value.trim();
  const credential = config.by_account ? (account ? { account } : {}) : { token: byId("token").value.trim() };
  connection?.close();
  clearEvents();
  clearFrames();
  connection = new Connection(credential, splitNames(byId("first-rooms").value));
  resetSubscriptions(connection);
  clearPublishResult();
  const listeners = {
    state: onState,
    frame: addFrame,
    event: addEvent,
    gap: addGap,
    subscriptions: showSubscriptions,
    rooms: applyRoomChanges,
    live: onLive,
    heartbeat: onHeartbeat,
  };
  for (const [type, listener] of Object.entries(listeners)) {
    connection.addEventListener(type, ({ detail }) => listener(detail));
  }
  connection.open();
  byId("why-not").textContent = "";
  byId("who").textContent = account;
  showSignedIn(true);
  byId("new-room").focus();
}

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  connect();
});
byId("leave").addEventListener("click", () => {
  connection.close();
  showState("off", "Not connected");
  showSignedIn(false);
});
byId("again").addEventListener("click", () => (connection.isClosed ? connect() : connection.open()));

const loaded = await initialConfig;
config = loaded.config ?? config;
byId("why-not").textContent = loaded.error;
byId("by-account").hidden = !config.by_account;
byId("by-token").hidden = config.by_account;
byId("token").required = !config.by_account;
showSignedIn(false);
