// JSON as it was written: numbers of any size keep their digits, on the way in and on the way out.
//
// Rule: what a producer wrote is shown and sent as written; only blanks are the page's own.

const exactly = (_key, value, context) =>
  typeof value === "number" && context && JSON.rawJSON && String(value) !== context.source
    ? JSON.rawJSON(context.source)
    : value;

/** The `data` of an event frame, indented. */
export function dataOf(text) {
  return JSON.stringify(JSON.parse(text, exactly).data, null, 2) ?? "null";
}

/** An object as JSON, with `data` added as the JSON text that it is. */
export function withData(fields, text) {
  JSON.parse(text); // throws where it is none
  return `${JSON.stringify(fields).slice(0, -1)},"data":${text}}`;
}

/** A frame to show: as it is, less a credential. */
export function shown(text) {
  if (!text.includes('"token"')) return text;
  const frame = JSON.parse(text);
  if (typeof frame.token !== "string") return text;
  return JSON.stringify({ ...frame, token: "(hidden by this page)" });
}
