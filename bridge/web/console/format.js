// How long ago something was, and how much something is, in few characters.
//
// Rule: times are the bridge's, so they are compared with the bridge's clock, not with this one.

const NOTICEABLE = 2_000;

let skew = 0;

/** Takes note of the time in an answer's head, which is in whole seconds. */
export function told(date) {
  const apart = Date.parse(date) - Date.now();
  if (Number.isNaN(apart)) return;
  skew = Math.abs(apart) > NOTICEABLE ? apart : 0;
}

/** The age of an RFC 3339 time; "" of none. */
export function ago(time, now = Date.now() + skew) {
  if (!time) return "";
  const seconds = Math.max(0, Math.floor((now - Date.parse(time)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

/** A number with its thousands apart. */
export const count = (number) => number.toLocaleString("en");

/** A number of bytes; "" of none that is known. */
export function bytes(number) {
  if (number === null || number === undefined) return "";
  if (number < 1000) return `${number} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = number;
  let unit = -1;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** A rate or a number that may have a fraction. */
export const rounded = (number) => (number < 10 ? number.toFixed(1).replace(/[.]0$/, "") : count(Math.round(number)));
