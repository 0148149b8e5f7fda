// Parses `/metrics`, Prometheus' text format.
//
// Rule: unknown lines are skipped. A metric that is absent is undefined, not 0.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

const unescape = (text) => text.replace(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));

export class MetricsSnapshot {
  #samplesByName = new Map();

  constructor(text) {
    for (const line of text.split("\n")) {
      const [, name, labelText = "", value] = LINE.exec(line) ?? [];
      if (name === undefined) continue;
      const labels = Object.fromEntries(
        [...labelText.matchAll(LABEL)].map(([, label, escaped]) => [label, unescape(escaped)]));
      if (!this.#samplesByName.has(name)) this.#samplesByName.set(name, []);
      this.#samplesByName.get(name).push({ labels, value: Number(value) });
    }
  }

  /** The sum of all samples of a metric. */
  sum(name) {
    return this.#samplesByName.get(name)?.reduce((sum, { value }) => sum + value, 0);
  }

  /** A label of the first sample of a metric. */
  label(name, label) {
    return this.#samplesByName.get(name)?.[0].labels[label];
  }
}
