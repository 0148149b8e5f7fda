// A React hook: `const { events, state, gap } = usePushBridge(url, { rooms: ["order:42"] })`.

import { createClient } from "push-bridge";
import { useEffect, useState } from "react";

/**
 * The newest events of a bridge, for as long as the component is there.
 *
 * @param {string} url
 * @param {import("push-bridge").Options} [options] another value of `options` is another connection
 * @param {number} [most] how many events are kept
 */
export function usePushBridge(url, options, most = 100) {
  const [events, setEvents] = useState(/** @type {import("push-bridge").Event[]} */ ([]));
  const [state, setState] = useState(/** @type {import("push-bridge").State} */ ("idle"));
  const [gap, setGap] = useState(/** @type {import("push-bridge").Gap | undefined} */ (undefined));
  const key = JSON.stringify(options);

  useEffect(() => {
    const client = createClient(url, options);
    client.on("event", (event) => setEvents((old) => [...old, event].slice(-most)));
    client.on("gap", setGap); // load the state of `gap.topic` anew
    client.on("state", (item) => setState(item.state));
    client.start();
    return () => client.close();
  }, [url, key, most]);

  return { events, state, gap };
}
