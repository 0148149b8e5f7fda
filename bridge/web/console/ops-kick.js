// The dialog that disconnects one connection or all connections of its account.

import { byId } from "./dom.js";
import { disconnect, disconnectAccount } from "./ops-commands.js";
import { setUpDialog } from "./ops-dialog.js";

let target;

const showDialog = setUpDialog("kick", async () => {
  const reason = byId("kick-reason").value.trim();
  if (byId("kick-account").checked) await disconnectAccount(target.account, reason);
  else await disconnect(target.id, reason);
});

export function openKickDialog(connection) {
  target = connection;
  byId("kick-id").textContent = target.id;
  byId("kick-whose").textContent = target.account ?? "";
  byId("kick-all").hidden = target.account === null;
  byId("kick-one").checked = true;
  byId("kick-reason").value = "";
  showDialog();
  byId("kick-reason").focus();
}
