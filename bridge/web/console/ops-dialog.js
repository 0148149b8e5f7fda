// Modal dialogs with a form.
//
// Rule: a dialog closes once its request was accepted. An error is shown inside it.

import { byId } from "./dom.js";

/** Sets up the dialog `id`; `onSubmit` may throw. Returns a function that opens it. */
export function setUpDialog(id, onSubmit) {
  const [element, form, error] = [byId(id), byId(`${id}-form`), byId(`${id}-refused`)];
  let isBusy = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (isBusy) return;
    isBusy = true;
    error.textContent = "";
    try {
      await onSubmit();
      element.close();
    } catch (caught) {
      error.textContent = caught.message;
    } finally {
      isBusy = false;
    }
  });
  byId(`${id}-cancel`).addEventListener("click", () => element.close());
  return () => {
    error.textContent = "";
    element.showModal();
  };
}
