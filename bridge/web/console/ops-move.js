// Asks into which room to put a connection or its account, out of which to take it, or both.
//
// Rule: to move is to join and then to leave, so nothing that is for both rooms is missed between.

import { byId } from "./dom.js";
import { join, leave, roomsOf } from "./ops-commands.js";
import { dialog } from "./ops-dialog.js";
import { Trouble } from "./errors.js";

let asked;

const who = () => (byId("move-account").checked ? { account: asked.account } : { connection: asked.id });
const does = () => ["put", "take", "both"].find((each) => byId(`move-${each}`).checked);

const open = dialog("move", async () => {
  const [whom, what] = [who(), does()];
  const [from, to] = [byId("move-from").value, byId("move-to").value];
  if (what !== "take") await join(to, whom);
  if (what === "put") return;
  try {
    await leave(from, whom);
  } catch (trouble) {
    if (what === "take") throw trouble;
    throw new Trouble(trouble.status, `It is in ${to} now, and still in ${from}`, trouble.message);
  }
});

function adapt() {
  const what = does();
  for (const [id, needed] of [["from", what !== "put"], ["to", what !== "take"]]) {
    byId(`move-${id}-field`).hidden = !needed;
    byId(`move-${id}`).required = needed;
  }
}

async function fill() {
  const [asker, whom] = [asked, who()];
  let rooms = [];
  let said = "";
  try {
    rooms = await roomsOf(whom);
    said = whom.account === undefined ? "It is in no room." : "It was put into no room.";
  } catch (trouble) {
    said = trouble.message;
  }
  if (asked !== asker || who().account !== whom.account) return; // asked for another meanwhile
  byId("move-in").textContent = rooms.length ? `In: ${rooms.join(", ")}` : said;
  byId("move-rooms").replaceChildren(...rooms.map((room) => new Option(room, room)));
  if (!byId("move-from").value && rooms.length) [byId("move-from").value] = rooms;
}

/** Asks about a connection. */
export function askMove(connection) {
  asked = connection;
  byId("move-id").textContent = asked.id;
  byId("move-whose").textContent = asked.account ?? "";
  byId("move-all").hidden = asked.account === null;
  byId("move-one").checked = true;
  byId("move-put").checked = true;
  byId("move-in").textContent = "";
  for (const id of ["move-from", "move-to"]) byId(id).value = "";
  byId("move-rooms").replaceChildren();
  adapt();
  open();
  byId("move-to").focus();
  fill();
}

for (const id of ["move-one", "move-account"]) {
  byId(id).addEventListener("change", () => {
    byId("move-from").value = "";
    fill();
  });
}
for (const id of ["move-put", "move-take", "move-both"]) byId(id).addEventListener("change", adapt);
