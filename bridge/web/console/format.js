// Formats ages, counts and bytes in few characters.
//
// Rule: times come from the bridge, so ages use the bridge's clock and not the browser's.

// The Date header has whole seconds. A smaller difference is not clock skew.
const MIN_SKEW_MS = 2_000;

let skewMs = 0;

/** Adjusts the clock to the Date header of a response. */
export function syncClock(dateHeader) {
  const differenceMs = Date.parse(dateHeader) - Date.now();
  if (Number.isNaN(differenceMs)) return;
  skewMs = Math.abs(differenceMs) > MIN_SKEW_MS ? differenceMs : 0;
}

/** The age of an RFC 3339 time; "" if there is no time. */
export function formatAge(time, now = Date.now() + skewMs) {
  if (!time) return "";
  const seconds = Math.max(0, Math.floor((now - Date.parse(time)) / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

/** A whole number with thousands separators. */
export const formatCount = (number) => number.toLocaleString("en");

/** A count with its noun; `nouns` is the plural, if that is not just an `s` more. */
export const formatNoun = (number, noun, nouns = `${noun}s`) =>
  `${formatCount(number)} ${number === 1 ? noun : nouns}`;

/** A number of bytes; "" if it is unknown. */
export function formatBytes(number) {
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

/** A rate or a gauge. Below 10 it keeps one decimal place. */
export const formatNumber = (number) =>
  (number < 10 ? number.toFixed(1).replace(/[.]0$/, "") : formatCount(Math.round(number)));
