// What `/metrics` says, in Prometheus' text format.
//
// Rule: a line that is not understood is passed over, a value that is not there is undefined.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

const plain = (text) => text.replace(/\\(.)/g, (_, each) => (each === "n" ? "\n" : each));

export class Figures {
  #samples = new Map();

  constructor(text) {
    for (const line of text.split("\n")) {
      const [, name, labels = "", value] = LINE.exec(line) ?? [];
      if (name === undefined) continue;
      const named = Object.fromEntries([...labels.matchAll(LABEL)].map(([, key, said]) => [key, plain(said)]));
      if (!this.#samples.has(name)) this.#samples.set(name, []);
      this.#samples.get(name).push({ labels: named, value: Number(value) });
    }
  }

  /** The sum of all samples of that name. */
  sum(name) {
    return this.#samples.get(name)?.reduce((sum, { value }) => sum + value, 0);
  }

  /** A label of the first sample of that name. */
  label(name, key) {
    return this.#samples.get(name)?.[0].labels[key];
  }
}
