/** What can be in an event's `data` and `meta`. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

interface Told {
  op: "event";
  topic: string;
  /** The position: `topic:partition:offset`. */
  at: string;
  /** Why you got it: `connection`, `account`, `room:NAME` or `all`. */
  to: string;
  id: string;
  type: string;
  /** RFC 3339, in UTC. */
  time: string;
  tag?: string;
  meta?: Json;
}
/** Something happened. It has one of `data`, `data_base64` and `deleted`. */
export type Event<Data = Json> =
  | (Told & { data: Data; data_base64?: undefined; deleted?: undefined })
  | (Told & { data_base64: string; data?: undefined; deleted?: undefined })
  | (Told & { deleted: true; data?: undefined; data_base64?: undefined });

/** Events of `topic` were missed and can not be had: load its state anew. */
export interface Gap {
  op: "gap";
  topic: string;
  reason: "expired" | "truncated" | "recreated" | "limit" | "corrupt" | (string & {});
  cursor: string;
}

/** The replay is over; what comes now happens now. */
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

/** What a connection begins with. */
export interface Welcome {
  op: "welcome";
  connection: string;
  account: string | null;
  instance: string;
  topics: string[];
  rooms: string[];
  /** Seconds. */
  heartbeat: number;
  /** When the token ends, RFC 3339. */
  expires: string | null;
  cursor: string;
}

export type State = "idle" | "connecting" | "replaying" | "live" | "waiting" | "closed";

/** How the connection is, in order with the events. */
export interface StateChange {
  op: "state";
  state: State;
  /** With `live` or `replaying`, where a connection has just begun. */
  welcome?: Welcome;
  /** With `waiting` and `closed`: a close code, 1006 where there was none, or a status of HTTP. */
  code?: number;
  reason?: string;
  /** With `waiting`: how many milliseconds, where it is not for the user to take what waits. */
  ms?: number;
}

/** Something that went wrong and leaves the connection, as a newer token that was refused. */
export interface Warning {
  op: "warning";
  /** The bridge's error, or `token` where asking for one has failed. */
  code: string;
  reason: string;
}

export type Item<Data = Json> = Event<Data> | Gap | Live | Rooms | StateChange | Warning;

export interface Options {
  /** The credential, or what is asked for one: at each connection, and before it expires. */
  token?: string | (() => string | Promise<string>);
  /** Who to be, only where authentication is off. */
  account?: string;
  /** Absent: all that may be read without being named; empty: none. */
  topics?: string[];
  rooms?: string[];
  /** Event types to get; one with `*` at its end is a prefix. */
  types?: string[];
  /** Where to go on: the `resumeFrom` of another client. */
  cursor?: string;
  /** RFC 3339: what to replay from while there is no cursor. */
  since?: string;
  /** `auto` tries an event stream where no WebSocket gets through. */
  transport?: "auto" | "websocket" | "sse";
  /** More waiting items than this, and it disconnects until a tenth is left. Default: 1000. */
  highWater?: number;
  /** How long to wait for the welcome. Default: 10 s. */
  welcomeMs?: number;
  /** The least time between two askings for a token. Default: 5 s. */
  renewMs?: number;
  /** The first and the longest wait before another attempt. Default: 0.5 s and 30 s. */
  backoffMs?: [base: number, most: number];
  /** Where there is no global one, or another is wanted. */
  WebSocket?: new (url: string, protocol: string) => any;
  /** In place of `JSON.parse`. */
  parse?: (text: string) => any;
}

export interface Wish {
  topics?: string[];
  rooms?: string[];
}

/** What one is subscribed to now. */
export interface Subscribed {
  topics: string[];
  rooms: string[];
  cursor: string;
}

/** An error of `subscribe`: `code` is the bridge's error, or `closed`. */
export interface Refused extends Error {
  code: string;
}

/** Either iterate over it, or have listeners told: an item is handed out once. */
export interface Client<Data = Json> {
  readonly state: State;
  /** Why it is over, where it is. */
  readonly closed: { code: number; reason: string } | undefined;
  /** How many items have not been taken. */
  readonly waiting: number;
  /** What another client goes on with: `cursor` behind the last item that was handed out. */
  readonly resumeFrom: string | undefined;
  /** Connects, once; to iterate does it too. */
  start(): void;
  /** What it promises is told by the bridge; without a connection, by the next one. */
  subscribe(what: Wish): Promise<Subscribed>;
  unsubscribe(what: Wish): Promise<Subscribed>;
  /** From the first listener on, all items are handed out as they come. Returns what ends it. */
  on<Op extends Item["op"]>(
    op: Op,
    listener: (item: Extract<Item<Data>, { op: Op }>) => unknown,
  ): () => void;
  [Symbol.asyncIterator](): AsyncIterator<Item<Data>, undefined>;
  /** Ends it; what was not taken is not handed out any more. */
  close(): void;
}

/** A client of the bridge at `url`, as `https://push.example`; it does nothing until started. */
export function createClient<Data = Json>(url: string | URL, options?: Options): Client<Data>;

/** Of each state, what comes after it, by what has happened. */
export const states: Record<State, Record<string, State>>;

/** The newest cursor, and the last position of each partition since. */
export class Place {
  constructor(from: { cursor?: string; since?: object; seen?: object });
  readonly text: string | undefined;
  /** Takes note of a frame; false where it is an event that came before. */
  add(frame: { op?: string; at?: string; topic?: string; cursor?: string }): unknown;
}
