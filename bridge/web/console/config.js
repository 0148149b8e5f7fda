// The bridge's configuration of this page: how clients sign in and, in `dev`, an admin token.
//
// Rule: a failed request is not an answer. Nobody reads it as "there is no token".

/** Fetches the configuration. `config` is null if that fails; `error` then has the reason. */
export async function fetchConfig() {
  try {
    const response = await fetch("console.json");
    if (response.ok) return { config: await response.json(), error: "" };
    return { config: null, error: `The bridge refuses this page: ${(await response.json()).detail}` };
  } catch {
    return { config: null, error: "The bridge does not answer. Reload this page." };
  }
}

export const initialConfig = fetchConfig();
