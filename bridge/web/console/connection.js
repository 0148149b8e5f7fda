// One client of the bridge: the library's, with the events that this page shows.
//
// Rules: the library alone decides when to connect and with which parameters. Frames are passed
// on as their text on the wire.

import { createClient } from "../client.js";

export class Connection extends EventTarget {
  #client;
  #failures = 0;
  #wasWelcomedBefore = false;
  #isOpened = false;
  #isWelcomed = false;
  #isSocketOpen = false;
  #isClosedByUser = false;
  #welcome;

  /** `credential` is {account} or {token}. */
  constructor(credential, rooms) {
    super();
    const parse = (text) => Object.defineProperty(JSON.parse(text), "text", { value: text });
    const WebSocket = this.#observedWebSocket();
    const options = { ...credential, rooms, parse, WebSocket };
    this.#client = createClient(new URL(".", document.baseURI), options);
    this.#client.on("event", (frame) => this.#emit("event", { frame, text: frame.text }));
    this.#client.on("state", (change) => this.#onStateChange(change));
    this.#client.on("live", ({ replayed }) =>
      this.#emit("live", { replayed, instance: this.#welcome.instance }));
    for (const op of ["gap", "rooms"]) this.#client.on(op, (frame) => this.#emit(op, frame));
  }

  get isClosed() {
    return this.#client.state === "closed";
  }

  open() {
    if (this.#client.state === "idle") this.#client.start();
    else dispatchEvent(new Event("online")); // the library reconnects at once on this event
  }

  /** Closes the connection for good. */
  close() {
    this.#isClosedByUser = true;
    this.#client.close();
  }

  /** Sends a `subscribe` or `unsubscribe` of {topics, rooms} and waits for the reply. */
  async changeSubscriptions(op, names) {
    try {
      const reply = await this.#client[op](names);
      this.#emit("subscriptions", reply);
      return { ok: true, kept: reply.kept ?? [] };
    } catch ({ message }) {
      return { ok: false, reason: message };
    }
  }

  #onStateChange({ state, welcome, code, reason, ms }) {
    if (this.#isClosedByUser) return;
    const isReconnect = this.#wasWelcomedBefore;
    if (state === "connecting") {
      this.#isWelcomed = this.#isSocketOpen = false;
      this.#emit("state", { state, isReconnect });
    }
    if (welcome) {
      const isReplaying = state === "replaying";
      const isStream = !this.#isSocketOpen;
      this.#emit("state", { state: "live", isReconnect, isStream, welcome, isReplaying });
      this.#emit("subscriptions", welcome);
      this.#welcome = welcome;
      this.#wasWelcomedBefore = this.#isWelcomed = true;
      this.#failures = 0;
    }
    const close = { code, reason, isOpened: this.#isOpened, isWelcomed: this.#isWelcomed };
    if (state === "waiting") {
      this.#failures += 1;
      this.#emit("state", { state, waitSeconds: (ms ?? 0) / 1000, failures: this.#failures, ...close });
    }
    if (state === "closed") this.#emit("state", { state, ...close });
  }

  /** A WebSocket class that emits each frame in both directions. */
  #observedWebSocket() {
    const emitFrame = (text, isSent) => {
      const frame = JSON.parse(text);
      this.#emit("frame", { text, op: frame.op, isSent });
      if (frame.op === "heartbeat" && !isSent) this.#emit("heartbeat", frame);
    };
    const onOpen = () => (this.#isOpened = this.#isSocketOpen = true);
    return class extends WebSocket {
      constructor(...options) {
        super(...options);
        this.addEventListener("open", onOpen);
        this.addEventListener("message", ({ data }) => emitFrame(data, false));
      }
      send(text) {
        super.send(text);
        emitFrame(text, true);
      }
    };
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
