// Sends commands of `/v1` and watches until each has taken effect.
//
// Rules: a refused command throws; its form shows the error. An accepted one is listed with its
// position and whether its effect was observed. No command is sent twice.

import { callApi } from "./api.js";
import { byId, createElement, trimChildren } from "./dom.js";
import { refreshAll } from "./poll.js";

const [TIMEOUT_MS, INTERVAL_MS, MAX_COMMANDS] = [10_000, 300, 4];
const NO_EFFECT = "no effect within 10 s; Kafka or an instance may be slow";

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

function setStatus(status, kind, text) {
  status.className = kind;
  status.textContent = text;
}

function addCommand(description, position) {
  const status = createElement("span", { className: "soft" }, "pending…");
  const summary = createElement("span", { className: "what" }, description);
  byId("commands-list").prepend(
    createElement("li", {}, summary, createElement("code", {}, position), status));
  trimChildren(byId("commands-list"), MAX_COMMANDS);
  byId("commands").hidden = false;
  return status;
}

async function watch(status, hasEffect, timeoutText) {
  const startedAt = performance.now();
  while (performance.now() - startedAt < TIMEOUT_MS) {
    try {
      if (await hasEffect()) {
        const seconds = (performance.now() - startedAt) / 1000;
        setStatus(status, "good", `took effect ${seconds < 0.1 ? "at once" : `after ${seconds.toFixed(1)} s`}`);
        refreshAll();
        return;
      }
    } catch (error) {
      if (error.status === 404) {
        setStatus(status, "warn", "the connection has closed meanwhile");
        refreshAll();
        return;
      }
    }
    await sleep(INTERVAL_MS);
  }
  setStatus(status, "warn", timeoutText);
  refreshAll();
}

/** Sends a command, then polls `hasEffect`. `timeoutText` is shown if that stays false for 10 s. */
async function sendCommand(description, method, parts, options, hasEffect, timeoutText = NO_EFFECT) {
  const { at } = await callApi(method, parts, options);
  watch(addCommand(description, at), hasEffect, timeoutText);
}

const describeMember = ({ account, connection }) =>
  (account === undefined ? `connection ${connection}` : `account ${account}`);

const membershipPath = (room, { account, connection }) =>
  (account === undefined ? ["rooms", room, "connections", connection] : ["rooms", room, "accounts", account]);

/** The rooms of a connection, or the durable memberships of an account. */
export async function fetchRooms({ account, connection }) {
  const parts = account === undefined ? ["connections", connection] : ["accounts", account];
  return (await callApi("GET", parts)).rooms;
}

const isInRoom = async (room, member) => (await fetchRooms(member)).includes(room);

/** Adds a {connection}, or an {account} durably, to a room. */
export const join = (room, member) => sendCommand(
  `Add ${describeMember(member)} to ${room}`, "PUT", membershipPath(room, member), {},
  () => isInRoom(room, member),
);

/** Removes what `join` added. */
export const leave = (room, member) => sendCommand(
  `Remove ${describeMember(member)} from ${room}`, "DELETE", membershipPath(room, member), {},
  async () => !(await isInRoom(room, member)),
  member.account === undefined ? "still in the room: it subscribed itself, or its account is a member" : undefined,
);

/** Closes a connection with 4504. */
export const disconnect = (connection, reason) => sendCommand(
  `Kick connection ${connection}`, "DELETE", ["connections", connection], { query: { reason } },
  async () => {
    try {
      await callApi("GET", ["connections", connection]);
      return false;
    } catch (error) {
      if (error.status === 404) return true;
      throw error;
    }
  },
);

/** Closes the present connections of an account with 4504. Later ones do not count. */
export async function disconnectAccount(account, reason) {
  const fetchIds = async () => (await callApi("GET", ["accounts", account])).connections;
  const idsBefore = new Set(await fetchIds());
  await sendCommand(
    `Kick account ${account}`, "DELETE", ["accounts", account, "connections"], { query: { reason } },
    async () => !(await fetchIds()).some((id) => idsBefore.has(id)),
  );
}

/** Sets the title of a room; "" removes it. */
export const setTitle = (room, title) => sendCommand(
  title ? `Set the title of ${room} to “${title}”` : `Remove the title of ${room}`,
  "PUT", ["rooms", room], { body: { title } },
  async () => ((await callApi("GET", ["rooms", room])).title ?? "") === title,
);

byId("commands-close").addEventListener("click", () => {
  byId("commands").hidden = true;
  byId("commands-list").replaceChildren();
  byId("connections").focus();
});
