/** A value of `data` and `meta`. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

interface EventFields {
  op: "event";
  topic: string;
  /** The position: `topic:partition:offset`. */
  at: string;
  /** Why this client received it: `connection`, `account`, `room:NAME` or `all`. */
  to: string;
  id: string;
  type: string;
  /** RFC 3339, in UTC. */
  time: string;
  tag?: string;
  meta?: Json;
}
/** An event; it has one of `data`, `data_base64` and `deleted`. */
export type Event<Data = Json> =
  | (EventFields & { data: Data; data_base64?: undefined; deleted?: undefined })
  | (EventFields & { data_base64: string; data?: undefined; deleted?: undefined })
  | (EventFields & { deleted: true; data?: undefined; data_base64?: undefined });

/** Events of `topic` cannot be replayed: load its state again. */
export interface Gap {
  op: "gap";
  topic: string;
  reason: "expired" | "truncated" | "recreated" | "limit" | "corrupt" | "removed" | (string & {});
  cursor: string;
}

/** The replay is over; later events are live. */
export interface Live {
  op: "live";
  replayed: number;
  cursor: string;
}

/** The backend changed this connection's rooms. */
export interface Rooms {
  op: "rooms";
  joined: string[];
  left: string[];
  cursor: string;
}

/** The first frame of a connection. */
export interface Welcome {
  op: "welcome";
  connection: string;
  account: string | null;
  instance: string;
  topics: string[];
  rooms: string[];
  /** Seconds. */
  heartbeat: number;
  /** When the token expires, RFC 3339. */
  expires: string | null;
  cursor: string;
}

export type State = "idle" | "connecting" | "replaying" | "live" | "waiting" | "closed";

/** A change of the client's state, in order with the events. */
export interface StateChange {
  op: "state";
  state: State;
  /** With `live` or `replaying`, if a connection has just begun. */
  welcome?: Welcome;
  /** With `waiting` and `closed`: a close code (1006 if there was none) or an HTTP status. */
  code?: number;
  reason?: string;
  /** With `waiting`: milliseconds until the next attempt. A full queue must be taken first. */
  ms?: number;
}

/** A failure after which the connection continues, such as a refused token renewal. */
export interface Warning {
  op: "warning";
  /**
   * The bridge's error; `token` if the token function failed; `websocket` if two connections failed
   * before their welcome. A browser hides why: see the network tab, and the bridge's log.
   */
  code: string;
  reason: string;
}

export type Item<Data = Json> = Event<Data> | Gap | Live | Rooms | StateChange | Warning;

export interface Options {
  /** The credential, or a function that returns one: called per connection and before expiry. */
  token?: string | (() => string | Promise<string>);
  /** The account, only if authentication is off. */
  account?: string;
  /** Absent: all that need no name; empty: none. */
  topics?: string[];
  rooms?: string[];
  /** Event types to receive; `*` at the end makes a prefix. */
  types?: string[];
  /** The `resumeFrom` of another client, to continue behind it. */
  cursor?: string;
  /** RFC 3339: replay from this time, as long as there is no cursor. */
  since?: string;
  /** `auto` tries an event stream if WebSockets fail. */
  transport?: "auto" | "websocket" | "sse";
  /** With more waiting items it disconnects until a tenth is left. Default: 1000. */
  highWater?: number;
  /** Time limit for the welcome. Default: 10 s. */
  welcomeMs?: number;
  /** The least time between two token renewals. Default: 5 s. */
  renewMs?: number;
  /** The first and the largest bound of the reconnect delay. Default: 0.5 s and 30 s. */
  backoffMs?: [base: number, most: number];
  /** Used instead of the global one. */
  WebSocket?: new (url: string, protocol: string) => any;
  /** Used instead of `JSON.parse`. */
  parse?: (text: string) => any;
}

export interface Wish {
  topics?: string[];
  rooms?: string[];
}

/** The topics and rooms after a change. */
export interface Subscribed {
  topics: string[];
  rooms: string[];
  cursor: string;
  /** Rooms of an `unsubscribe` that the backend keeps the client in. */
  kept?: string[];
}

/** An error of `subscribe`: `code` is the bridge's error, or `closed`. */
export interface Refused extends Error {
  code: string;
}

/** Use iteration or listeners, not both: an item is handed out once. */
export interface Client<Data = Json> {
  readonly state: State;
  /** Why the client has ended; undefined before. */
  readonly closed: { code: number; reason: string } | undefined;
  /** The number of items that were not taken yet. */
  readonly waiting: number;
  /** The position behind the last item handed out; the `cursor` of another client. */
  readonly resumeFrom: string | undefined;
  /** Starts to connect; iteration does it too. */
  start(): void;
  /** Settles with the bridge's reply; without a connection, with the next welcome. */
  subscribe(what: Wish): Promise<Subscribed>;
  unsubscribe(what: Wish): Promise<Subscribed>;
  /** From the first listener on, items are handed out as they arrive. Returns an unsubscriber. */
  on<Op extends Item["op"]>(
    op: Op,
    listener: (item: Extract<Item<Data>, { op: Op }>) => unknown,
  ): () => void;
  [Symbol.asyncIterator](): AsyncIterator<Item<Data>, undefined>;
  /** Ends the client; items that were not taken are dropped. */
  close(): void;
}

/** A client of the bridge at `url`, such as `https://push.example`; it connects when started. */
export function createClient<Data = Json>(url: string | URL, options?: Options): Client<Data>;

/** For each state, the next state by trigger. */
export const states: Record<State, Record<string, State>>;

/** The newest cursor, and the last position of each partition since. */
export class Place {
  constructor(from: { cursor?: string; since?: object; seen?: object });
  readonly text: string | undefined;
  /** Advances behind a frame; false for an event that came before. */
  add(frame: { op?: string; at?: string; topic?: string; cursor?: string }): unknown;
}
