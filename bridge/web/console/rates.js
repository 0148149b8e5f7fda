// How fast counters rise, over the last two minutes.
//
// Rules: a counter that begins anew has risen by what it says; of another instance it has not risen
// at all; over a time in which nobody looked nothing is told.

const WINDOW = 120;
const GAP = 10;

/** A sample of a counter or a gauge: `at` in seconds, `who` it is of, `boot` when that began. */
export class Series {
  points = []; // {at, value, joined}: whether a line leads to it from the one before
  #counts;
  #last;

  constructor({ counts }) {
    this.#counts = counts;
  }

  take({ at, who, boot, value }) {
    const last = this.#last;
    if (value === undefined || at <= (last?.at ?? -Infinity)) return;
    this.#last = { at, who, boot, value };
    if (last && last.who !== who) this.points = [];
    while (this.points.length && this.points[0].at < at - WINDOW) this.points.shift();
    const told = this.#counts ? this.#rate(last) : value;
    if (told === null) return;
    const before = this.points.at(-1);
    this.points.push({ at, value: told, joined: before !== undefined && at - before.at <= GAP });
  }

  #rate(last) {
    const { at, who, boot, value } = this.#last;
    if (!last || last.who !== who || at - last.at > GAP) return null;
    const anew = last.boot !== boot || value < last.value;
    return (anew ? value : value - last.value) / (at - last.at);
  }

  /** The newest value, undefined before there is one. */
  get now() {
    return this.points.at(-1)?.value;
  }

  get most() {
    return Math.max(0, ...this.points.map(({ value }) => value));
  }

  /** The points as an SVG path in a box of `width` and `height`, with `at` at its right edge. */
  path(width, height, at) {
    const top = this.most || 1;
    const place = ({ at: then, value }) => {
      const x = width * (1 - (at - then) / WINDOW);
      return `${x.toFixed(1)} ${(height - (value / top) * height).toFixed(1)}`;
    };
    return this.points.map((point) => `${point.joined ? "L" : "M"}${place(point)}`).join("");
  }
}
