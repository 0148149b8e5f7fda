// The JavaScript client under the conformance runner: JSON lines in, JSON lines out.
//
// Rule: it does what it is told and prints what it is handed; it decides nothing.

import { fork } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { createClient } from "../../bridge/client/javascript/push-bridge.js";

const CAN = ["leave", "sse", "wake"];
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

/** Prints an item; says whether it is one that the user counts. */
function show({ op, state, welcome, ...rest }) {
  // A hint for developers that only this client gives: no scenario asks for it.
  if (op === "warning" && rest.code === "websocket") return false;
  if (op !== "state") {
    print({ item: op, ...rest });
    return true;
  }
  print({ item: "state", state });
  if (welcome) print({ ...welcome, item: "connected" });
  if (state === "waiting") print({ item: "disconnected", ...rest });
  return false;
}

class Driven {
  #client;
  #allowed;
  #more = () => {};

  constructor({ url, options }) {
    const { queue, token, start = true, paused, ...others } = options;
    const { backoff_ms, welcome_ms, renew_ms, ...same } = others;
    const times = { backoffMs: backoff_ms, welcomeMs: welcome_ms, renewMs: renew_ms };
    const tokens = Array.isArray(token) ? token : undefined;
    const next = () => (tokens.length > 1 ? tokens.shift() : tokens[0]);
    const credential = tokens ? next : token;
    this.#client = createClient(url, { ...same, ...times, highWater: queue, token: credential });
    this.#allowed = paused ? 0 : Infinity;
    if (start) this.start();
  }

  async start() {
    const items = this.#client[Symbol.asyncIterator]();
    for (;;) {
      while (this.#allowed < 1) await new Promise((resolve) => (this.#more = resolve));
      const { value, done } = await items.next();
      if (done) break;
      if (show(value)) this.#allowed -= 1;
    }
    print({ item: "final", ...this.#client.closed, resume: this.#client.resumeFrom });
    process.stdin.destroy();
  }

  take({ count = Infinity }) {
    this.#allowed += count;
    this.#more();
  }

  close() {
    const begun = this.#client.state !== "idle";
    this.#client.close();
    if (!begun) this.start();
    this.take({});
  }

  wake() {
    dispatchEvent(new Event("online"));
  }

  waiting({ n }) {
    print({ item: "reply", n, waiting: this.#client.waiting });
  }

  subscribe(told) {
    this.#change("subscribe", told);
  }

  unsubscribe(told) {
    this.#change("unsubscribe", told);
  }

  async #change(op, { n, topics, rooms }) {
    try {
      const reply = await this.#client[op]({ topics, rooms });
      print({ ...reply, item: "reply", n, ok: true });
    } catch ({ code, message }) {
      print({ item: "reply", n, ok: false, error: code, reason: message });
    }
  }
}

function drive() {
  // Node has no window that would tell of networks; here the runner does.
  const window = new EventTarget();
  for (const name of ["addEventListener", "dispatchEvent"]) globalThis[name] ??= window[name].bind(window);
  const lines = createInterface({ input: process.stdin });
  let driven;
  lines.on("line", (text) => {
    const line = JSON.parse(text);
    if (driven) driven[line.do](line);
    else driven = new Driven(line);
  });
  print({ can: CAN });
}

if (globalThis.WebSocket) {
  process.once("disconnect", () => process.exit(1)); // whoever started this was killed
  process.channel?.unref();
  drive();
} else {
  // Older ones have it behind a switch.
  const execArgv = ["--experimental-websocket", "--no-warnings"];
  const again = fork(fileURLToPath(import.meta.url), { execArgv, stdio: [0, 1, 2, "ipc"] });
  again.on("exit", (code) => (process.exitCode = code ?? 1));
}
