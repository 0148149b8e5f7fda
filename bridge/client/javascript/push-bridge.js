// docs/clients.md. Rule: no event is skipped, and none is handed out twice.

const ends = { LOST: "waiting", REFUSED: "closed", STOPPED: "closed" };
export const states = {
  idle: { START: "connecting", STOPPED: "closed" },
  connecting: { WELCOMED: "live", RETURNED: "replaying", ...ends },
  replaying: { CAUGHT_UP: "live", ...ends },
  live: ends,
  waiting: { DUE: "connecting", STOPPED: "closed" },
  closed: {},
};

/** The newest cursor, and the last position of each partition since. */
export class Place {
  constructor({ cursor, since, seen }) {
    this.seen = { ...seen };
    this.add({ cursor });
    this.since = { ...this.since, ...since };
  }

  get text() {
    return this.cursor && [this.cursor, ...Object.values(this.since)].join();
  }

  // False: the event came before.
  add({ op, at, topic, cursor }) {
    if (op === "event") return this.addAt(at);
    if (op === "gap")
      for (const key in this.seen)
        if (key.startsWith(topic + ":")) delete this.seen[key], delete this.since[key];
    if (cursor) {
      const [first, ...ats] = cursor.split(",");
      this.cursor = first;
      this.since = {};
      for (const each of ats) this.addAt(each, true);
    }
    return true;
  }

  addAt(at, again) {
    const [, key, offset] = /(.*):(.*)/.exec(at);
    if (!again && offset <= this.seen[key]) return false;
    this.seen[key] = BigInt(offset);
    return (this.since[key] = at);
  }
}

const isItem = /^(event|gap|live|rooms)$/;
const alter = (op, list = [], names = []) =>
  op === "subscribe" ? [...new Set([...list, ...names])] : list.filter((it) => !names.includes(it));
const failure = (code, reason) => Object.assign(new Error(reason), { code });

export function createClient(url, options = {}) {
  const {
    token, account, types, since, transport = "auto", parse = JSON.parse, highWater = 1000,
    welcomeMs = 1e4, renewMs = 5e3, backoffMs: [base, max] = [500, 3e4],
    WebSocket = globalThis.WebSocket,
  } = options;
  const root = new URL(url, globalThis.location?.href).href.replace(/\/(ws)?$/, "");
  const asks = typeof token === "function";
  const over = new AbortController();
  const taken = new Place({ cursor: options.cursor });
  const listeners = {};
  let { topics, rooms } = options;
  let state = "idle";
  let [queue, readers, changes] = [[], [], []];
  let [tries, blocked, refusals, number] = [0, 0, 0, 0];
  let arrived, heartbeat, closed, full, known, link, pump, renewal, ticker, ticked, timer, working;

  const deliver = () => {
    while (queue.length && readers.length) {
      const { item, cursor } = queue.shift();
      taken.add(item);
      taken.add({ cursor });
      readers.shift()({ value: item });
    }
    if (closed && !queue.length) for (const reader of readers) reader({ done: true });
    if (full && queue.length <= highWater / 10) open("DUE", (full = false));
  };
  const put = (item) => deliver(queue.push({ item }));
  const warn = (code, reason) => put({ op: "warning", code, reason });
  const move = (trigger, more) => {
    const next = states[state][trigger];
    if (next) put({ op: "state", state: (state = next), ...more });
    return next;
  };
  const after = (ms, act) => {
    clearTimeout(timer);
    timer = setTimeout(act, ms);
  };
  const drop = () => {
    clearTimeout(timer);
    clearTimeout(renewal);
    link?.close?.();
    link = null;
  };
  const probe = (ms) => {
    if (link.send) link.send({ op: "heartbeat" });
    else ms += heartbeat; // no send
    after(ms, () => end(link, 1006, "silent"));
  };
  const wake = () => {
    if (state === "waiting") full || open("DUE");
    else if (heartbeat) probe(3000);
  };

  const finish = (trigger, code, reason) => {
    drop();
    clearInterval(ticker);
    over.abort();
    closed = { code, reason };
    const why = [403, 4501].includes(code) ? "forbidden" : "closed";
    for (const { reject } of changes) reject(failure(why, reason));
    move(trigger, closed);
  };
  const end = (it, status, words, seconds) => {
    if (it !== link) return;
    const { code = status, reason = words, retry_after = seconds } = it.closing ?? {};
    drop();
    const again = asks && [401, 4500].includes(code) && !refusals++;
    if (/^45..$|^4(?!08|25|29)..$/.test(code) && !again) return finish("REFUSED", code, reason);
    if (heartbeat || code >= 4000) blocked = 0;
    else if (++blocked === 2) warn("websocket", "see BRIDGE_ALLOWED_ORIGINS");
    const ms = retry_after * 1000 || Math.random() * Math.min(max, base * 2 ** tries++);
    move("LOST", { code, reason, ms });
    if (!full) after(ms, () => open("DUE"));
  };
  const open = async (trigger) => {
    if (!move(trigger)) return;
    const usual = !WebSocket || blocked % 3 === 2 ? "sse" : "websocket";
    const it = (link = { kind: transport === "auto" ? working ?? usual : transport });
    heartbeat = 0;
    after(welcomeMs, () => end(it, 1006, "no welcome"));
    try {
      it.token = asks ? await token() : token;
      if (it === link) await (it.kind === "sse" ? stream : socket)(it);
    } catch (error) {
      end(it, 1006, String(error));
    }
  };

  const apply = ({ op, ...what }) => {
    if (what.topics) topics = alter(op, topics ?? known, what.topics);
    rooms = alter(op, rooms, what.rooms);
  };
  const hello = (it) => {
    for (const change of changes) {
      change.link = it;
      apply(change.frame);
    }
    queue = queue.filter(({ item }) => !isItem.test(item.op)); // sent again
    arrived = new Place(taken);
    const cursor = taken.text;
    const back = (it.back = cursor ? { cursor } : since && { since });
    const asked = { account, topics, rooms: rooms?.[0] && rooms, types };
    return { op: "hello", token: it.token, ...asked, ...back };
  };
  const socket = (it) => {
    const ws = new WebSocket(root.replace("http", "ws") + "/ws?hello=1", "push-bridge.v1");
    it.send = (frame) => ws.readyState === 1 && ws.send(JSON.stringify(frame));
    it.close = () => ws.close(1000);
    ws.onopen = () => it.send(hello(it));
    ws.onmessage = ({ data }) => take(it, parse(data));
    ws.onclose = ({ code, reason }) => end(it, code, reason);
    ws.onerror = () => {};
  };
  const stream = async (it) => {
    const abort = new AbortController();
    it.close = () => abort.abort();
    const { op, token: bearer, cursor, ...asked } = hello(it);
    const query = new URLSearchParams();
    for (const key in asked) if (asked[key]?.length) query.set(key, asked[key]);
    const headers = cursor ? { "Last-Event-ID": cursor } : {};
    if (bearer) headers.Authorization = "Bearer " + bearer;
    const response = await fetch(`${root}/events?${query}`, { headers, signal: abort.signal });
    if (!response.ok)
      return end(it, response.status, await response.text(), response.headers.get("Retry-After"));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return end(it, 1006, "ended");
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        const [, field, text] = /^(\w+): ?([^\r]*)/.exec(line) ?? [];
        if (field === "data") take(it, parse(text));
        if (field === "id" && !text.startsWith("final")) take(it, { cursor: text });
      }
    }
  };

  const take = (it, frame) => {
    if (it !== link) return;
    const { op, cursor } = frame;
    if (op === "welcome") {
      working = it.kind;
      refusals = 0;
      known = frame.topics;
      heartbeat = frame.heartbeat * 1000;
      it.expires = Date.parse(frame.expires);
      it.life = it.expires - Date.now();
      if (asks && it.send && it.life) renew(it);
      changes = changes.filter((each) => each.link !== it || each.resolve(frame));
      move(it.back ? "RETURNED" : "WELCOMED", { welcome: frame });
    }
    if (heartbeat) after(2 * heartbeat + 1000, () => probe(heartbeat));
    if (!arrived.add(frame)) return;
    if (op === "event" || op === "heartbeat") tries = 0;
    const last = queue.findLast(({ item }) => isItem.test(item.op));
    if (isItem.test(op)) put(frame);
    else if (last) last.cursor = cursor ?? last.cursor;
    else taken.add(frame);
    if (op === "live") move("CAUGHT_UP");
    if (op === "closing") it.closing = frame;
    if (op === "reply") reply(it, frame);
    if (op === "welcome") sendChanges();
    full = queue.length > highWater;
    if (full) end(it, 4002, "slow");
  };
  const renew = (it) => {
    clearTimeout(renewal);
    const ms = Math.max(renewMs, 0.8 * (it.expires - Date.now()));
    renewal = setTimeout(async () => {
      it.renewal = ++number;
      try {
        it.send({ op: "token", id: number, token: await token() });
      } catch (error) {
        warn("token", String(error));
      }
      if (it === link) renew(it);
    }, Math.min(ms, 2 ** 31 - 1));
  };
  const reply = (it, { ok, error, reason, ...result }) => {
    const change = changes.find(({ frame }) => frame.id === result.id);
    changes = changes.filter((each) => each !== change);
    if (!ok) change ? change.reject(failure(error, reason)) : warn(error, reason);
    else if (change) {
      apply(change.frame);
      change.resolve(result);
    } else if (result.id === it.renewal) {
      it.expires = Date.now() + it.life;
      renew(it);
    }
  };

  const sendChanges = () => {
    for (const change of changes) {
      if (change.link === link) continue;
      if (!link.send) return end(link, 1000, "changed", 1e-3);
      change.link = link;
      link.send(change.frame);
    }
  };
  const change = (op) => ({ topics, rooms }) => {
    const response = new Promise((resolve, reject) => {
      if (closed) return reject(failure("closed", closed.reason));
      changes.push({ frame: { op, id: ++number, topics, rooms }, resolve, reject });
      if (link && heartbeat) sendChanges();
    });
    response.catch(() => {});
    return response;
  };

  const next = () => new Promise((resolve) => deliver(readers.push(resolve)));
  const start = () => {
    if (state !== "idle") return;
    for (const type of ["online", "pageshow", "visibilitychange"])
      globalThis.addEventListener?.(type, () => globalThis.document?.hidden || wake(), over);
    ticker = setInterval(() => {
      if (Date.now() - ticked > 6000) wake();
      ticked = Date.now();
    }, 1000);
    open("START");
  };

  return {
    get state() { return state; },
    get closed() { return closed; },
    get waiting() { return queue.length; },
    get resumeFrom() { return taken.text; },
    start,
    subscribe: change("subscribe"),
    unsubscribe: change("unsubscribe"),
    on(op, listener) {
      (listeners[op] ??= new Set()).add(listener);
      pump ??= (async () => {
        for (let step; !(step = await next()).done; )
          for (const listener of listeners[step.value.op] ?? []) (async () => listener(step.value))();
      })();
      return () => listeners[op].delete(listener);
    },
    [Symbol.asyncIterator]() {
      start();
      return { next };
    },
    close() {
      if (!closed) finish("STOPPED", 1000, "closed", (queue = []));
    },
  };
}
