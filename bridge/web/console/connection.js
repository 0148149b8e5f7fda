// One client of the bridge: the library's, with what this page shows beside its events.
//
// Rules: the library alone decides when to connect and with what; frames are told as the text that
// they were.

import { createClient } from "../client.js";

export class Connection extends EventTarget {
  #client;
  #failures = 0;
  #known = false; // whether there ever was a welcome
  #opened = false;
  #welcomed = false;
  #left = false;
  #welcome;

  /** `credential` is {account} or {token}. */
  constructor(credential, rooms) {
    super();
    const parse = (text) => Object.defineProperty(JSON.parse(text), "text", { value: text });
    const WebSocket = this.#watched();
    const options = { ...credential, rooms, parse, WebSocket };
    this.#client = createClient(new URL(".", document.baseURI), options);
    this.#client.on("event", (frame) => this.#tell("event", { frame, text: frame.text }));
    this.#client.on("state", (item) => this.#changed(item));
    this.#client.on("live", ({ replayed }) =>
      this.#tell("live", { replayed, instance: this.#welcome.instance }));
    for (const op of ["gap", "rooms"]) this.#client.on(op, (frame) => this.#tell(op, frame));
  }

  open() {
    if (this.#client.state === "idle") this.#client.start();
    else dispatchEvent(new Event("online")); // what wakes every client of this page
  }

  /** Leaves for good. */
  leave() {
    this.#left = true;
    this.#client.close();
  }

  /** Subscribes or unsubscribes, by {topics, rooms}; the promise is of the reply. */
  async change(op, what) {
    try {
      const reply = await this.#client[op](what);
      this.#tell("choice", reply);
      return { ok: true };
    } catch ({ message }) {
      return { ok: false, reason: message };
    }
  }

  #changed({ state, welcome, code, reason, ms }) {
    if (this.#left) return;
    if (state === "connecting") {
      this.#welcomed = false;
      this.#tell("state", { state, back: this.#known });
    }
    if (welcome) {
      this.#tell("state", { state: "live", back: this.#known, frame: welcome, catching: state === "replaying" });
      this.#tell("choice", welcome);
      this.#welcome = welcome;
      this.#known = this.#welcomed = true;
      this.#failures = 0;
    }
    const told = { code, reason, opened: this.#opened, welcomed: this.#welcomed };
    if (state === "waiting")
      this.#tell("state", { state, wait: (ms ?? 0) / 1000, failures: ++this.#failures, ...told });
    if (state === "closed") this.#tell("state", { state: "over", ...told });
  }

  /** A WebSocket that tells of its frames. */
  #watched() {
    const tell = (text, out) => {
      const frame = JSON.parse(text);
      this.#tell("frame", { text, op: frame.op, out });
      if (frame.op === "heartbeat" && !out) this.#tell("heartbeat", frame);
    };
    const opened = () => (this.#opened = true);
    return class extends WebSocket {
      constructor(...how) {
        super(...how);
        this.addEventListener("open", opened);
        this.addEventListener("message", ({ data }) => tell(data, false));
      }
      send(text) {
        super.send(text);
        tell(text, true);
      }
    };
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
