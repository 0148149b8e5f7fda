// A page that shows what happens: open index.html?bridge=https://push.example&account=alice.
//
// The bridge serves its client itself; with a bundler write `import { createClient } from "push-bridge"`.

const asked = new URLSearchParams(location.search);
const bridge = asked.get("bridge") ?? location.origin;
/** @type {typeof import("push-bridge")} */
const { createClient } = await import(`${bridge}/client.js`);

const orders = /** @type {HTMLElement} */ (document.querySelector("#orders"));
const state = /** @type {HTMLElement} */ (document.querySelector("#state"));

/** @param {string} text */
function add(text) {
  const line = document.createElement("li");
  line.textContent = text;
  orders.append(line);
}

// A tab that is loaded again goes on where it was.
const client = createClient(bridge, {
  account: asked.get("account") ?? undefined,
  transport: asked.get("transport") === "sse" ? "sse" : "auto",
  cursor: sessionStorage.getItem("place") ?? undefined,
});
client.on("event", ({ type, data, at }) => {
  add(`${type} ${JSON.stringify(data)} (${at})`);
  sessionStorage.setItem("place", client.resumeFrom ?? "");
});
client.on("gap", ({ topic }) => add(`Events of ${topic} were missed: load them anew.`));
client.on("live", ({ replayed }) => add(`${replayed} were caught up with.`));
client.on("state", (item) => {
  state.textContent = item.reason ? `${item.state}: ${item.reason}` : item.state;
});
client.start();
