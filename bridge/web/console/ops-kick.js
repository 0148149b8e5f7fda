// Asks whether to disconnect: one connection, or all of its account.

import { byId } from "./dom.js";
import { kick, kickAll } from "./ops-commands.js";
import { dialog } from "./ops-dialog.js";

let who;

const open = dialog("kick", async () => {
  const reason = byId("kick-reason").value.trim();
  if (byId("kick-account").checked) await kickAll(who.account, reason);
  else await kick(who.id, reason);
});

/** Asks about a connection. */
export function askKick(connection) {
  who = connection;
  byId("kick-id").textContent = who.id;
  byId("kick-whose").textContent = who.account ?? "";
  byId("kick-all").hidden = who.account === null;
  byId("kick-one").checked = true;
  byId("kick-reason").value = "";
  open();
  byId("kick-reason").focus();
}
