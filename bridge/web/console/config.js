// What the bridge tells its page: how clients sign in, and in `dev` an admin token.
//
// Rule: an answer that did not come is no answer; nobody takes it for "there is none".

/** Asks the bridge; `told` is null where it gave no answer that can be used, and `why` says so. */
export async function ask() {
  try {
    const answer = await fetch("console.json");
    if (answer.ok) return { told: await answer.json(), why: "" };
    return { told: null, why: `The bridge refuses this page: ${(await answer.json()).detail}` };
  } catch {
    return { told: null, why: "The bridge does not answer; load this page again." };
  }
}

export const first = ask();
