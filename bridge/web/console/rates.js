// Rates of counters over the last two minutes.
//
// Rules: a counter that was reset has risen by its new value. Samples of two instances are never
// compared. A gap in the samples has no rate.

const WINDOW_SECONDS = 120;
const MAX_GAP_SECONDS = 10;

/** The points of one metric: rates of a counter, or values of a gauge. */
export class Series {
  points = []; // {at, value, isJoined}: isJoined if a line leads to it from the previous point
  #isCounter;
  #lastSample;

  constructor({ isCounter }) {
    this.#isCounter = isCounter;
  }

  /** Adds a sample. `at` is in seconds; `startedAt` is when the process of `instance` started. */
  add({ at, instance, startedAt, value }) {
    const last = this.#lastSample;
    if (value === undefined || at <= (last?.at ?? -Infinity)) return;
    this.#lastSample = { at, instance, startedAt, value };
    if (last && last.instance !== instance) this.points = [];
    while (this.points.length && this.points[0].at < at - WINDOW_SECONDS) this.points.shift();
    const pointValue = this.#isCounter ? this.#rateSince(last) : value;
    if (pointValue === null) return;
    const previous = this.points.at(-1);
    const isJoined = previous !== undefined && at - previous.at <= MAX_GAP_SECONDS;
    this.points.push({ at, value: pointValue, isJoined });
  }

  #rateSince(last) {
    const { at, instance, startedAt, value } = this.#lastSample;
    if (!last || last.instance !== instance || at - last.at > MAX_GAP_SECONDS) return null;
    const wasReset = last.startedAt !== startedAt || value < last.value;
    return (wasReset ? value : value - last.value) / (at - last.at);
  }

  /** The newest value; undefined before there is one. */
  get latest() {
    return this.points.at(-1)?.value;
  }

  get max() {
    return Math.max(0, ...this.points.map(({ value }) => value));
  }

  /** The points as an SVG path in a box of `width` and `height`, whose right edge is at `now`. */
  svgPath(width, height, now) {
    const top = this.max || 1;
    const coordinates = ({ at, value }) => {
      const x = width * (1 - (now - at) / WINDOW_SECONDS);
      return `${x.toFixed(1)} ${(height - (value / top) * height).toFixed(1)}`;
    };
    return this.points.map((point) => `${point.isJoined ? "L" : "M"}${coordinates(point)}`).join("");
  }
}
