// The dialog that adds a connection or its account to a room, removes it from one, or moves it.
//
// Rule: a move joins first and then leaves, so that no event for both rooms is missed.

import { byId } from "./dom.js";
import { fetchRooms, join, leave } from "./ops-commands.js";
import { setUpDialog } from "./ops-dialog.js";
import { ApiError } from "./errors.js";

let target; // the connection for which the dialog was opened

const selectedMember = () =>
  (byId("move-account").checked ? { account: target.account } : { connection: target.id });
const selectedAction = () => ["put", "take", "both"].find((action) => byId(`move-${action}`).checked);

const showDialog = setUpDialog("move", async () => {
  const [member, action] = [selectedMember(), selectedAction()];
  const [from, to] = [byId("move-from").value, byId("move-to").value];
  if (action !== "take") await join(to, member);
  if (action === "put") return;
  try {
    await leave(from, member);
  } catch (error) {
    if (action === "take") throw error;
    throw new ApiError(error.status, `It is in ${to} now, and still in ${from}`, error.message);
  }
});

function showFieldsOfAction() {
  const action = selectedAction();
  for (const [name, isNeeded] of [["from", action !== "put"], ["to", action !== "take"]]) {
    byId(`move-${name}-field`).hidden = !isNeeded;
    byId(`move-${name}`).required = isNeeded;
  }
}

async function showCurrentRooms() {
  const [requestedTarget, member] = [target, selectedMember()];
  let rooms = [];
  let text = "";
  try {
    rooms = await fetchRooms(member);
    text = member.account === undefined ? "It is in no room." : "It has no durable membership.";
  } catch (error) {
    text = error.message;
  }
  // The operator may have selected something else meanwhile.
  if (target !== requestedTarget || selectedMember().account !== member.account) return;
  byId("move-in").textContent = rooms.length ? `In: ${rooms.join(", ")}` : text;
  byId("move-rooms").replaceChildren(...rooms.map((room) => new Option(room, room)));
  if (!byId("move-from").value && rooms.length) [byId("move-from").value] = rooms;
}

export function openMoveDialog(connection) {
  target = connection;
  byId("move-id").textContent = target.id;
  byId("move-whose").textContent = target.account ?? "";
  byId("move-all").hidden = target.account === null;
  byId("move-one").checked = true;
  byId("move-put").checked = true;
  byId("move-in").textContent = "";
  for (const id of ["move-from", "move-to"]) byId(id).value = "";
  byId("move-rooms").replaceChildren();
  showFieldsOfAction();
  showDialog();
  byId("move-to").focus();
  showCurrentRooms();
}

for (const id of ["move-one", "move-account"]) {
  byId(id).addEventListener("change", () => {
    byId("move-from").value = "";
    showCurrentRooms();
  });
}
for (const id of ["move-put", "move-take", "move-both"]) {
  byId(id).addEventListener("change", showFieldsOfAction);
}
