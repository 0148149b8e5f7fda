// Whether to come back after a close, and when.
//
// Rule (docs/protocol.md, "Closing"): the code is the advice. 45xx does not come back; everything
// else does, after what the server asked for and never all at once.

const LONGEST = 30;

export const isFinal = (code) => code >= 4500 && code < 4600;

/** Seconds to wait before the try after `failures` in a row; `asked` is the server's retry_after. */
export function delay(failures, asked = 0, random = Math.random) {
  const most = Math.min(LONGEST, 0.5 * 2 ** Math.min(failures, 10));
  return Math.max(asked, random() * most);
}
