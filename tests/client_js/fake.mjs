// A bridge of one's own for unit tests: sockets that say what the test wants, at once.

import { afterEach } from "node:test";
import { createClient } from "../../bridge/client/javascript/push-bridge.js";

export const WELCOME = {
  op: "welcome", connection: "c", account: "alice", instance: "one", topics: ["t"], rooms: [],
  heartbeat: 25, expires: null, cursor: "C0",
};

export const turn = () => new Promise((resolve) => setImmediate(resolve));
/** Waits until `condition` holds; gives up where that is for ever. */
export async function until(condition) {
  const patience = performance.now() + 3000;
  while (!condition()) {
    if (performance.now() > patience) throw new Error(`waited in vain for ${condition}`);
    await turn();
  }
}
export const event = (at, more = {}) => ({ op: "event", topic: at.split(":")[0], at, to: "account", data: at, ...more });

/** A class in place of WebSocket, and all of its sockets so far. */
export function sockets() {
  const opened = [];
  class Socket {
    readyState = 0;
    sent = [];
    closedWith = undefined;
    constructor(url, protocol) {
      Object.assign(this, { url, protocol });
      opened.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close(code) {
      this.closedWith = code;
      this.readyState = 3;
    }
    // -- what the test lets happen --
    open() {
      this.readyState = 1;
      this.onopen();
      return this;
    }
    say(...frames) {
      for (const frame of frames) this.onmessage({ data: JSON.stringify(frame) });
      return this;
    }
    end(code, reason = "") {
      this.readyState = 3;
      this.onclose({ code, reason });
    }
  }
  return { Socket, opened };
}

const clients = new Set();
afterEach(() => {
  // Those of a test that failed would keep its process.
  for (const client of clients) client.close();
  clients.clear();
});
/** A client that does not outlive its test. */
export function made(url, options) {
  const client = createClient(url, options);
  clients.add(client);
  return client;
}

/** A client with such sockets; `last` waits for the newest of at least `count`. */
export function rig(options = {}) {
  const { Socket, opened } = sockets();
  const client = made("https://push.example/base", {
    WebSocket: Socket, backoffMs: [1, 1], transport: "websocket", ...options,
  });
  const last = async (count = 1) => {
    await until(() => opened.length >= count);
    return opened.at(-1);
  };
  const welcomed = async (count, welcome = {}) =>
    (await last(count)).open().say({ ...WELCOME, ...welcome });
  return { client, opened, last, welcomed };
}

/** All that `client` hands out from now on. */
export function heard(client) {
  const items = [];
  for (const op of ["event", "gap", "live", "rooms", "state", "warning"])
    client.on(op, (item) => items.push(item));
  return items;
}
