// Commands of `/v1`: given, told where they stand, and looked after until they are obeyed.
//
// Rules: what is refused is thrown, for whoever asked to show; what was accepted is shown with its
// position, and then whether it was seen to be done. No command is given twice by itself.

import { call } from "./api.js";
import { byId, cap, make } from "./dom.js";
import { refresh } from "./poll.js";

const [PATIENCE_MS, STEP_MS, KEPT] = [10_000, 300, 4];

const sleep = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

function say(line, kind, text) {
  line.className = kind;
  line.textContent = text;
}

function show(what, at) {
  const line = make("span", { className: "soft" }, "waiting to see it…");
  const said = make("span", { className: "what" }, what);
  byId("orders-list").prepend(make("li", {}, said, make("code", {}, at), line));
  cap(byId("orders-list"), KEPT);
  byId("orders").hidden = false;
  return line;
}

async function look(line, seen, unseen) {
  const begun = performance.now();
  while (performance.now() - begun < PATIENCE_MS) {
    try {
      if (await seen()) {
        const seconds = (performance.now() - begun) / 1000;
        say(line, "good", seconds < 0.1 ? "seen at once" : `seen after ${seconds.toFixed(1)} s`);
        refresh();
        return;
      }
    } catch (trouble) {
      if (trouble.status === 404) {
        say(line, "warn", "the connection has gone meanwhile");
        refresh();
        return;
      }
    }
    await sleep(STEP_MS);
  }
  say(line, "warn", unseen);
  refresh();
}

/** Gives a command; `seen` says whether it was obeyed, `unseen` is said where it was not in time. */
async function order(what, method, parts, given, seen, unseen = "not seen within 10 s; Kafka or an instance may be slow") {
  const { at } = await call(method, parts, given);
  look(show(what, at), seen, unseen);
}

const whom = ({ account, connection }) => (account === undefined ? `connection ${connection}` : `account ${account}`);

const place = (room, { account, connection }) =>
  (account === undefined ? ["rooms", room, "connections", connection] : ["rooms", room, "accounts", account]);

/** The rooms of a connection, or those that an account is in for good. */
export async function roomsOf({ account, connection }) {
  const parts = account === undefined ? ["connections", connection] : ["accounts", account];
  return (await call("GET", parts)).rooms;
}

const isIn = async (room, who) => (await roomsOf(who)).includes(room);

/** Puts a {connection}, or an {account} for good, into a room. */
export const join = (room, who) =>
  order(`Put ${whom(who)} into ${room}`, "PUT", place(room, who), {}, () => isIn(room, who));

/** Takes back that a {connection} or an {account} was put into a room. */
export const leave = (room, who) => order(
  `Take ${whom(who)} out of ${room}`, "DELETE", place(room, who), {}, async () => !(await isIn(room, who)),
  who.account === undefined ? "it is still there: it has entered by itself, or its account was put there" : undefined,
);

/** Closes a connection (4504). */
export const kick = (connection, reason) => order(
  `Kick connection ${connection}`, "DELETE", ["connections", connection], { query: { reason } },
  async () => {
    try {
      await call("GET", ["connections", connection]);
      return false;
    } catch (trouble) {
      if (trouble.status === 404) return true;
      throw trouble;
    }
  },
);

/** Closes every connection of an account (4504); those that come later are none of them. */
export async function kickAll(account, reason) {
  const those = async () => (await call("GET", ["accounts", account])).connections;
  const before = new Set(await those());
  await order(
    `Kick account ${account}`, "DELETE", ["accounts", account, "connections"], { query: { reason } },
    async () => !(await those()).some((id) => before.has(id)),
  );
}

/** Says what a room is called; "" is nothing. */
export const name = (room, title) => order(
  title ? `Call ${room} “${title}”` : `Call ${room} nothing`, "PUT", ["rooms", room], { body: { title } },
  async () => ((await call("GET", ["rooms", room])).title ?? "") === title,
);

byId("orders-close").addEventListener("click", () => {
  byId("orders").hidden = true;
  byId("orders-list").replaceChildren();
  byId("connections").focus();
});
