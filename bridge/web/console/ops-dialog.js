// A question of its own window, with a form.
//
// Rule: it is closed once what was asked for was accepted; what was refused is said in it.

import { byId } from "./dom.js";

/** Lets the dialog ask; `act` does what its form says, and may fail. */
export function dialog(id, act) {
  const [element, form] = [byId(id), byId(`${id}-form`)];
  const said = byId(`${id}-refused`);
  let busy = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    said.textContent = "";
    try {
      await act();
      element.close();
    } catch (trouble) {
      said.textContent = trouble.message;
    } finally {
      busy = false;
    }
  });
  byId(`${id}-cancel`).addEventListener("click", () => element.close());
  return () => {
    said.textContent = "";
    element.showModal();
  };
}
