// Prints what happens, from where it was left the last time: `node listen.mjs URL [TOKEN]`.

import { readFile, writeFile } from "node:fs/promises";
import { createClient } from "push-bridge";

const [url = "http://127.0.0.1:8080", token] = process.argv.slice(2);
const PLACE = ".push-bridge-place";
const cursor = await readFile(PLACE, "utf8").catch(() => undefined);
const client = createClient(url, { token, cursor });
process.once("SIGINT", () => client.close());

for await (const item of client) {
  if (item.op === "event") console.log(item.topic, item.type, item.data);
  else if (item.op === "gap") console.log(`events of ${item.topic} were missed (${item.reason})`);
  else if (item.op === "state") console.log(item.state, item.reason ?? "");
}

if (client.resumeFrom) await writeFile(PLACE, client.resumeFrom);
