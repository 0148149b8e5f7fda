// One client of the bridge, through as many sockets as it takes.
//
// Rules: it says hello in its first frame, so that no credential is in a URL; it comes back with
// its place; what it had asked for it asks for again. A server that is silent is left.

import { Place } from "./place.js";
import { delay, isFinal } from "./retry.js";

const WELCOME_SECONDS = 15;

export class Connection extends EventTarget {
  #credential;
  #place = new Place();
  #topics; // as chosen; undefined: all that may be read unnamed
  #rooms;
  #socket;
  #timer;
  #watch;
  #failures = 0;
  #opened = false;
  #welcomed = false;
  #closing;
  #heartbeat = 0;
  #questions = new Map();
  #number = 0;

  /** `credential` is {account} or {token}. */
  constructor(credential, rooms) {
    super();
    this.#credential = credential;
    this.#rooms = new Set(rooms);
  }

  open() {
    clearTimeout(this.#timer);
    this.#closing = undefined;
    this.#welcomed = false;
    const url = new URL("ws?hello=1", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, "push-bridge.v1");
    this.#socket = socket;
    this.#tell("state", { state: "connecting", back: this.#place.cursor !== "" });
    this.#expect(WELCOME_SECONDS);
    socket.onopen = () => {
      this.#opened = true;
      this.#hello();
    };
    socket.onmessage = ({ data }) => this.#take(data);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  /** Leaves for good. */
  leave() {
    this.#abandon(1000);
    clearTimeout(this.#timer);
  }

  /** Subscribes or unsubscribes, by {topics, rooms}; the promise is of the reply. */
  change(op, what) {
    const id = String(++this.#number);
    return new Promise((resolve) => {
      if (!this.#say({ op, id, ...what })) {
        resolve({ ok: false, reason: "not connected" });
        return;
      }
      this.#questions.set(id, (reply) => {
        if (reply.ok) this.#changed(op, what, reply);
        resolve(reply);
      });
    });
  }

  #changed(op, { topics, rooms = [] }, reply) {
    if (topics) this.#topics = reply.topics;
    for (const room of rooms) {
      if (op === "subscribe") this.#rooms.add(room);
      else this.#rooms.delete(room);
    }
    this.#tell("choice", reply);
  }

  #hello() {
    const hello = { op: "hello", ...this.#credential };
    if (this.#topics) hello.topics = this.#topics;
    if (this.#rooms.size) hello.rooms = [...this.#rooms];
    if (this.#place.cursor) hello.cursor = this.#place.cursor;
    this.#say(hello);
  }

  #say(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    const text = JSON.stringify(frame);
    this.#socket.send(text);
    this.#tell("frame", { text, op: frame.op, out: true });
    return true;
  }

  #take(text) {
    const frame = JSON.parse(text);
    this.#expect(this.#heartbeat ? 2.5 * this.#heartbeat : WELCOME_SECONDS);
    this.#tell("frame", { text, op: frame.op, out: false });
    const back = this.#place.cursor !== "";
    if (!this.#place.take(frame)) return;
    if (frame.op === "welcome") this.#welcome(frame, back);
    else if (frame.op === "event") this.#tell("event", { frame, text });
    else if (frame.op === "closing") this.#closing = frame;
    else if (frame.op === "reply") this.#answer(frame);
    else this.#tell(frame.op, frame);
  }

  #answer(reply) {
    this.#questions.get(reply.id)?.(reply);
    this.#questions.delete(reply.id);
  }

  #welcome(frame, back) {
    this.#failures = 0;
    this.#welcomed = true;
    this.#heartbeat = frame.heartbeat;
    this.#expect(2.5 * frame.heartbeat);
    this.#tell("state", { state: "live", back, frame });
    this.#tell("choice", frame);
  }

  #expect(seconds) {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      this.#abandon(4003);
      this.#closed(1006, "the bridge is silent");
    }, seconds * 1000);
  }

  #abandon(code) {
    clearTimeout(this.#watch);
    const socket = this.#socket;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(code);
    this.#socket = undefined;
  }

  #closed(code, reason) {
    clearTimeout(this.#watch);
    for (const answer of this.#questions.values()) answer({ ok: false, reason: "disconnected" });
    this.#questions.clear();
    const told = { code, reason: this.#closing?.reason || reason };
    Object.assign(told, { opened: this.#opened, welcomed: this.#welcomed });
    if (isFinal(code)) {
      this.#tell("state", { state: "over", ...told });
      return;
    }
    this.#failures += 1;
    const wait = delay(this.#failures, this.#closing?.retry_after);
    this.#tell("state", { state: "waiting", wait, failures: this.#failures, ...told });
    this.#timer = setTimeout(() => this.open(), wait * 1000);
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
