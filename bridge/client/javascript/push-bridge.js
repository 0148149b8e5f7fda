// docs/clients.md. Rule: nothing is skipped, and nothing that was handed out comes twice.

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

  // Takes note of a frame; false: it came before.
  add({ op, at, topic, cursor }) {
    if (op === "event") return this.pass(at);
    if (op === "gap")
      for (const key in this.seen)
        if (key.startsWith(topic + ":")) delete this.seen[key], delete this.since[key];
    if (cursor) {
      const [first, ...ats] = cursor.split(",");
      this.cursor = first;
      this.since = {};
      for (const each of ats) this.pass(each, true);
    }
    return true;
  }

  pass(at, again) {
    const [, key, offset] = /(.*):(.*)/.exec(at);
    if (!again && offset <= this.seen[key]) return false;
    this.seen[key] = BigInt(offset);
    return (this.since[key] = at);
  }
}

const shown = /^(event|gap|live|rooms)$/;
const alter = (op, list = [], names = []) =>
  op === "subscribe" ? [...new Set([...list, ...names])] : list.filter((it) => !names.includes(it));
const failure = (code, reason) => Object.assign(new Error(reason), { code });

export function createClient(url, options = {}) {
  const {
    token, account, types, since, transport = "auto", parse = JSON.parse, highWater = 1000,
    welcomeMs = 1e4, renewMs = 5e3, backoffMs: [base, most] = [500, 3e4],
    WebSocket = globalThis.WebSocket,
  } = options;
  const root = new URL(url, globalThis.location?.href).href.replace(/\/(ws)?$/, "");
  const asks = typeof token === "function";
  const over = new AbortController();
  const taken = new Place({ cursor: options.cursor });
  const listeners = {};
  let { topics, rooms } = options;
  let state = "idle";
  let [queue, takers, changes] = [[], [], []];
  let [tries, blocked, refusals, number] = [0, 0, 0, 0];
  let arrived, beat, closed, full, known, link, pump, renewal, ticker, ticked, timer, works;

  const hand = () => {
    while (queue.length && takers.length) {
      const { item, cursor } = queue.shift();
      taken.add(item);
      taken.add({ cursor });
      takers.shift()({ value: item });
    }
    if (closed && !queue.length) for (const taker of takers) taker({ done: true });
    if (full && queue.length <= highWater / 10) open("DUE", (full = false));
  };
  const put = (item) => hand(queue.push({ item }));
  const warn = (code, reason) => put({ op: "warning", code, reason });
  const move = (happened, more) => {
    const next = states[state][happened];
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
    if (link.say) link.say({ op: "heartbeat" });
    else ms += beat; // a stream can not be asked
    after(ms, () => end(link, 1006, "silent"));
  };
  const wake = () => {
    if (state === "waiting") full || open("DUE");
    else if (beat) probe(3000);
  };

  const finish = (happened, code, reason) => {
    drop();
    clearInterval(ticker);
    over.abort();
    closed = { code, reason };
    const why = [403, 4501].includes(code) ? "forbidden" : "closed";
    for (const { reject } of changes) reject(failure(why, reason));
    move(happened, closed);
  };
  const end = (it, status, words, seconds) => {
    if (it !== link) return;
    const { code = status, reason = words, retry_after = seconds } = it.closing ?? {};
    drop();
    const again = asks && [401, 4500].includes(code) && !refusals++;
    if (/^45..$|^4(?!08|25|29)..$/.test(code) && !again) return finish("REFUSED", code, reason);
    blocked = beat || code >= 4000 ? 0 : blocked + 1;
    const ms = retry_after * 1000 || Math.random() * Math.min(most, base * 2 ** tries++);
    move("LOST", { code, reason, ms });
    if (!full) after(ms, () => open("DUE"));
  };
  const open = async (happened) => {
    if (!move(happened)) return;
    const usual = !WebSocket || blocked % 3 === 2 ? "sse" : "websocket";
    const it = (link = { kind: transport === "auto" ? works ?? usual : transport });
    beat = 0;
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
    queue = queue.filter(({ item }) => !shown.test(item.op)); // it comes again
    arrived = new Place(taken);
    const cursor = taken.text;
    const back = (it.back = cursor ? { cursor } : since && { since });
    const asked = { account, topics, rooms: rooms?.[0] && rooms, types };
    return { op: "hello", token: it.token, ...asked, ...back };
  };
  const socket = (it) => {
    const ws = new WebSocket(root.replace("http", "ws") + "/ws?hello=1", "push-bridge.v1");
    it.say = (frame) => ws.readyState === 1 && ws.send(JSON.stringify(frame));
    it.close = () => ws.close(1000);
    ws.onopen = () => it.say(hello(it));
    ws.onmessage = ({ data }) => take(it, parse(data));
    ws.onclose = ({ code, reason }) => end(it, code, reason);
    ws.onerror = () => {};
  };
  const stream = async (it) => {
    const abort = new AbortController();
    it.close = () => abort.abort();
    const { op, token: bearer, cursor, ...wish } = hello(it);
    const query = new URLSearchParams();
    for (const key in wish) if (wish[key]?.length) query.set(key, wish[key]);
    const headers = cursor ? { "Last-Event-ID": cursor } : {};
    if (bearer) headers.Authorization = "Bearer " + bearer;
    const answer = await fetch(`${root}/events?${query}`, { headers, signal: abort.signal });
    if (!answer.ok)
      return end(it, answer.status, await answer.text(), answer.headers.get("Retry-After"));
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
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
      works = it.kind;
      refusals = 0;
      known = frame.topics;
      beat = frame.heartbeat * 1000;
      it.expires = Date.parse(frame.expires);
      it.life = it.expires - Date.now();
      if (asks && it.say && it.life) renew(it);
      changes = changes.filter((each) => each.link !== it || each.resolve(frame));
      move(it.back ? "RETURNED" : "WELCOMED", { welcome: frame });
    }
    if (beat) after(2 * beat + 1000, () => probe(beat));
    if (!arrived.add(frame)) return;
    if (op === "event" || op === "heartbeat") tries = 0;
    const last = queue.findLast(({ item }) => shown.test(item.op));
    if (shown.test(op)) put(frame);
    else if (last) last.cursor = cursor ?? last.cursor;
    else taken.add(frame);
    if (op === "live") move("CAUGHT_UP");
    if (op === "closing") it.closing = frame;
    if (op === "reply") reply(it, frame);
    if (op === "welcome") ask();
    full = queue.length > highWater;
    if (full) end(it, 4002, "slow");
  };
  const renew = (it) => {
    clearTimeout(renewal);
    const ms = Math.max(renewMs, 0.8 * (it.expires - Date.now()));
    renewal = setTimeout(async () => {
      it.renewal = ++number;
      try {
        it.say({ op: "token", id: number, token: await token() });
      } catch (error) {
        warn("token", String(error));
      }
      if (it === link) renew(it);
    }, Math.min(ms, 2 ** 31 - 1));
  };
  const reply = (it, { ok, error, reason, ...told }) => {
    const change = changes.find(({ frame }) => frame.id === told.id);
    changes = changes.filter((each) => each !== change);
    if (!ok) change ? change.reject(failure(error, reason)) : warn(error, reason);
    else if (change) {
      apply(change.frame);
      change.resolve(told);
    } else if (told.id === it.renewal) {
      it.expires = Date.now() + it.life;
      renew(it);
    }
  };

  const ask = () => {
    for (const change of changes) {
      if (change.link === link) continue;
      if (!link.say) return end(link, 1000, "changed", 1e-3);
      change.link = link;
      link.say(change.frame);
    }
  };
  const change = (op) => ({ topics, rooms }) => {
    const answer = new Promise((resolve, reject) => {
      if (closed) return reject(failure("closed", closed.reason));
      changes.push({ frame: { op, id: ++number, topics, rooms }, resolve, reject });
      if (link && beat) ask();
    });
    answer.catch(() => {});
    return answer;
  };

  const next = () => new Promise((resolve) => hand(takers.push(resolve)));
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
          for (const tell of listeners[step.value.op] ?? []) (async () => tell(step.value))();
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
