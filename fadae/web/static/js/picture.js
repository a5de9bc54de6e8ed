// One picture on the stage: a canvas onto which the tiles of a span of time are painted.

import { hertz, make } from "./dom.js";
import { painted, tile, value } from "./tiles.js";

const LABELS_APART = 9; // per cent of the height

/** Bands on an axis of equal heights, and the hertz they stand for. */
export class BandAxis {
  constructor({ band_low_hz: low, band_centre_hz: centre, band_high_hz: high }) {
    Object.assign(this, { low, centre, high });
  }

  get bands() {
    return this.centre.length;
  }

  /** Height from 0 (bottom) to 1 of a frequency. */
  height(value) {
    const { centre } = this;
    if (value <= this.low[0]) return 0;
    if (value >= this.high.at(-1)) return 1;
    let band = centre.findIndex((hz) => hz > value);
    if (band < 0) band = centre.length;
    const below = band > 0 ? centre[band - 1] : this.low[0];
    const above = band < centre.length ? centre[band] : this.high.at(-1);
    const share = (value - below) / (above - below || 1);
    return Math.min(1, Math.max(0, (band - 0.5 + share) / centre.length));
  }

  /** The frequency at a height: the inverse of `height` within a band's width. */
  hertz(height) {
    const at = height * this.bands - 0.5;
    const band = Math.min(Math.max(Math.floor(at), 0), this.bands - 2);
    if (at <= 0) return this.low[0] + (this.centre[0] - this.low[0]) * (at + 0.5) * 2;
    if (at >= this.bands - 1) {
      const [centre, high] = [this.centre.at(-1), this.high.at(-1)];
      return centre + (high - centre) * (at - this.bands + 1) * 2;
    }
    return this.centre[band] + (this.centre[band + 1] - this.centre[band]) * (at - band);
  }

  /** Write round frequencies beside a picture. */
  label(place) {
    const round = [50, 100, 200, 300, 500, 1000, 2000, 3000, 5000, 10000, 20000];
    const inside = round.filter((hz) => hz >= this.low[0] && hz <= this.high.at(-1) * 0.985);
    const labels = [];
    let last = -Infinity;
    for (const hz of inside.reverse()) { // from the top; where they would overlap, the lower one goes
      const top = Math.min(94, Math.max(6, (1 - this.height(hz)) * 100));
      if (top - last < LABELS_APART) continue;
      last = top;
      const span = make("span", {}, hz < 1000 ? `${hz}` : `${hz / 1000}k`);
      span.style.top = `${top}%`;
      labels.push(span);
    }
    place.replaceChildren(...labels);
  }

  /** The band and its frequency at a height, in words. */
  words(height) {
    const band = Math.min(this.bands - 1, Math.max(0, Math.floor(height * this.bands)));
    return `${hertz(this.centre[band])}, band ${band + 1} of ${this.bands}`;
  }
}

/** Paints a span of time from tiles; `wish(start, stop)` names the tiles that cover it. */
export class Picture {
  #span = null;
  #wish = null;
  #drawn = [];

  constructor(frame, kind) {
    this.frame = frame;
    this.canvas = frame.querySelector("canvas");
    this.kind = kind;
    new ResizeObserver(() => this.draw()).observe(frame);
  }

  /** Show seconds [start, stop) of what `wish` names: [{name, parameters, start, stop}]. */
  show(span, wish) {
    this.#span = span;
    this.#wish = wish;
    this.draw();
  }

  draw() {
    if (!this.#span) return;
    const { clientWidth: width, clientHeight: height } = this.frame;
    if (!width || !height) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== wide) this.canvas.width = wide;
    if (this.canvas.height !== high) this.canvas.height = high;
    const context = this.canvas.getContext("2d");
    context.imageSmoothingQuality = "low"; // anything better blurs each tile in its own way
    context.imageSmoothingEnabled = this.kind !== "signed";
    context.clearRect(0, 0, wide, high);
    const { start, stop } = this.#span;
    const x = (seconds) => ((seconds - start) / (stop - start)) * wide;
    let [waiting, failed] = [0, ""];
    this.#drawn = [];
    for (const { name, parameters } of this.#wish(start, stop)) {
      const entry = tile(name, parameters, () => this.draw());
      if (!entry) waiting += 1;
      else if (entry.failed) failed = entry.failed;
      else {
        const { picture } = entry;
        const [left, right] = [Math.round(x(picture.start)), Math.round(x(picture.stop))];
        context.drawImage(painted(entry, this.kind, high), left, 0, right - left, high);
        this.#drawn.push(entry);
      }
    }
    this.frame.classList.toggle("loading", waiting > 0);
    this.frame.classList.toggle("failed", Boolean(failed) && !this.#drawn.length);
    this.frame.title = failed;
  }

  /** The byte under a point, or null where nothing is painted. */
  value(seconds, height) {
    for (const entry of this.#drawn) {
      const found = value(entry, seconds, height);
      if (found != null) return found;
    }
    return null;
  }
}
