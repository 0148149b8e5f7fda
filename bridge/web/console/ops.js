// The operations view: instances, topics, rooms and connections.
//
// Rule: it asks for an admin token if it needs one. While the bridge does not answer, it keeps
// showing the last data, dimmed.

import { setToken, tokenStatus } from "./admin.js";
import { byId, setText } from "./dom.js";
import "./ops-rates.js";
import "./ops-instances.js";
import "./ops-topics.js";
import "./ops-rooms.js";
import "./ops-connections.js";
import { fetchMetrics } from "./ops-metrics.js";
import { onPollResult, Poll, startPolling, stopPolling } from "./poll.js";
import { ApiError } from "./errors.js";
import { currentView, onViewChange } from "./tabs.js";

const RETRY_MS = 2_000;
const NO_RESPONSE = new ApiError(0, "The bridge does not answer").message;
const NO_KAFKA = "The bridge does not reach Kafka: no event is delivered, and nobody knows the lag. Check Kafka, and BRIDGE_KAFKA__BOOTSTRAP_SERVERS.";
const INDICATORS = { up: "live", away: "waiting", stale: "stale" };

let retryTimer;
let staleSeconds = 0;

function showState(state, text, error = "") {
  byId("operations").dataset.state = state;
  byId("ops-state").dataset.state = INDICATORS[state] ?? "off";
  setText(byId("ops-state-text"), text);
  setText(byId("ops-error"), error);
}

function askForToken(error) {
  stopPolling();
  showState("locked", "Admin token required");
  byId("ops-why").textContent = error;
  byId("ops-desk").hidden = true;
  byId("ops-sign-in").hidden = false;
  byId("ops-token").focus();
}

async function openView() {
  clearTimeout(retryTimer);
  const status = await tokenStatus();
  if (currentView() !== "ops") return;
  if (status === "unknown") {
    showState("away", "No response", NO_RESPONSE);
    retryTimer = setTimeout(openView, RETRY_MS);
  } else if (status === "missing") {
    askForToken("");
  } else {
    byId("ops-desk").hidden = false;
    byId("ops-sign-in").hidden = true;
    startPolling();
  }
}

onPollResult((error) => {
  if (currentView() !== "ops" || byId("ops-desk").hidden) return;
  if (error?.status === 401) askForToken(error.message);
  else if (error?.status === 0) showState("away", "No response", error.message);
  else if (staleSeconds > 0) showState("stale", `Kafka unreachable for ${Math.round(staleSeconds)} s`, NO_KAFKA);
  else showState("up", "Updated every 2 s");
});

const showStale = ({ metrics }) => (staleSeconds = metrics.sum("push_bridge_stale_seconds") ?? 0);
new Poll(fetchMetrics, showStale, "rates-error");

byId("ops-sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(byId("ops-token").value);
  byId("ops-token").value = "";
  openView();
});

onViewChange((view) => {
  if (view === "ops") openView();
  else stopPolling();
});
