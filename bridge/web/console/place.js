// Where this client is in its topics: the newest cursor, and the positions since.
//
// Rules (docs/protocol.md, "Resuming"): a cursor covers exactly the frames before it; an event that
// is not above the last seen of its partition was seen; a gap forgets the topic's positions.

export class Place {
  #cursor = "";
  #since = new Map();
  #seen = new Map();

  /** What to come back with, "" before the first cursor. */
  get cursor() {
    return this.#cursor && [this.#cursor, ...this.#since.values()].join(",");
  }

  /** Takes note of a frame; says whether it is news, so not an event that came before. */
  take(frame) {
    if (frame.op === "event") return this.#event(frame.at);
    if (frame.op === "gap") this.#forget(frame.topic);
    if (frame.cursor) {
      this.#cursor = frame.cursor;
      this.#since.clear();
    }
    return true;
  }

  #event(at) {
    const cut = at.lastIndexOf(":");
    const [partition, offset] = [at.slice(0, cut), Number(at.slice(cut + 1))];
    if (offset <= (this.#seen.get(partition) ?? -1)) return false;
    this.#seen.set(partition, offset);
    this.#since.set(partition, at);
    return true;
  }

  #forget(topic) {
    for (const kept of [this.#seen, this.#since]) {
      for (const partition of [...kept.keys()]) {
        if (partition.slice(0, partition.lastIndexOf(":")) === topic) kept.delete(partition);
      }
    }
  }
}
