// JSON without loss: numbers of any size keep their digits when shown and when sent.
//
// Rule: a producer's data is shown and sent as written. Only whitespace may change.

const keepNumberSource = (_key, value, context) =>
  typeof value === "number" && context && JSON.rawJSON && String(value) !== context.source
    ? JSON.rawJSON(context.source)
    : value;

/** The `data` of an event frame, indented. */
export function formatData(frameText) {
  return JSON.stringify(JSON.parse(frameText, keepNumberSource).data, null, 2) ?? "null";
}

/** Encodes `fields` as JSON and adds the JSON text `dataText` as `data`. Throws if that is invalid. */
export function encodeWithData(fields, dataText) {
  JSON.parse(dataText);
  return `${JSON.stringify(fields).slice(0, -1)},"data":${dataText}}`;
}

/** The text of a frame without its credential. */
export function redactToken(frameText) {
  if (!frameText.includes('"token"')) return frameText;
  const frame = JSON.parse(frameText);
  if (typeof frame.token !== "string") return frameText;
  return JSON.stringify({ ...frame, token: "(hidden by this page)" });
}
