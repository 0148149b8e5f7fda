// Users' code, as the compiler at its strictest sees it: what may be written, and what may not.

import { createClient, states, type Client, type Event, type Item } from "push-bridge";

interface Order { order: number }

const client: Client<Order> = createClient<Order>(new URL("https://push.example"), {
  token: async () => (await fetch("/token")).text(),
  topics: ["orders"],
  backoffMs: [100, 5000],
  WebSocket,
});
const plain = createClient("https://push.example");

export async function read(): Promise<string> {
  for await (const item of client) {
    switch (item.op) {
      case "event":
        if (item.deleted) return item.at;
        if (item.data_base64 !== undefined) return atob(item.data_base64);
        return String(item.data.order);
      case "gap": return `${item.topic} ${item.reason} ${item.cursor}`;
      case "live": return String(item.replayed + 1);
      case "rooms": return [...item.joined, ...item.left].join();
      case "state": return `${item.state} ${item.code ?? 0} ${item.welcome?.instance ?? ""}`;
      case "warning": return item.code + item.reason;
      default: return item satisfies never;
    }
  }
  return client.closed?.reason ?? client.resumeFrom ?? states.idle["START"] ?? client.state;
}

export async function ask(): Promise<string[]> {
  const { topics, rooms, cursor } = await client.subscribe({ rooms: ["order:42"] });
  await client.unsubscribe({ topics });
  return [...rooms, cursor, String(client.waiting)];
}

export const seen: Item[] = [];
const off: () => void = client.on("event", (event: Event<Order>) => event.at);
plain.on("state", (item) => seen.push(item));
off();
client.start();
client.close();

// @ts-expect-error there is no such thing to listen to
client.on("events", () => undefined);
// @ts-expect-error rooms is a list
void client.subscribe({ rooms: "order:42" });
// @ts-expect-error a state is read only
client.state = "live";
// @ts-expect-error no such transport
createClient("https://push.example", { transport: "carrier pigeon" });
// @ts-expect-error no such option
createClient("https://push.example", { topic: "orders" });
