// The map: each recording a point, near to what sounds alike; the one under the pointer is heard.

import { json, samples } from "./api.js";
import { whenThemeChanges } from "./colours.js";
import { byId, clock, trouble } from "./dom.js";
import { toAddress } from "./store.js";

const RADIUS = 4;
const REACH = 28; // pixels from the pointer at which a point is still meant
const REST_MS = 140; // the pointer must rest so long
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export class CorpusMap {
  #points = [];
  #chosen = null;
  #timer = 0;
  #asked = null;

  /** `on`: {play(tape)}; `rateHz` of all sound. */
  constructor(rateHz, on) {
    this.on = on;
    this.rateHz = rateHz;
    this.frame = byId("map");
    this.canvas = this.frame.querySelector("canvas");
    this.frame.addEventListener("pointermove", (event) => this.#hover(event));
    this.frame.addEventListener("pointerleave", () => clearTimeout(this.#timer));
    this.frame.addEventListener("click", (event) => {
      const point = this.#under(event);
      if (point) this.#choose(point, true);
    });
    this.frame.addEventListener("keydown", (event) => this.#key(event));
    byId("map-hear").addEventListener("click", () => {
      const on = byId("map-hear").getAttribute("aria-pressed") !== "true";
      byId("map-hear").setAttribute("aria-pressed", String(on));
      if (on && this.#chosen) this.#play(this.#chosen);
    });
    whenThemeChanges(() => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(this.frame);
  }

  /** Fetch the points, once, and draw them. */
  async show() {
    this.#asked ??= json("map");
    try {
      const { points, recordings, explained } = await this.#asked;
      this.#points = points;
      const share = Math.round(100 * (explained[0] + explained[1]));
      const some = points.length < recordings ? `${points.length.toLocaleString("en")} of ` : "";
      byId("map-lead").textContent = `${some}${recordings.toLocaleString("en")} recordings by the energy in their bands. The two axes tell ${share} % of the differences.`;
      this.#draw();
    } catch (error) {
      this.#asked = null;
      trouble(`The map could not be drawn: ${error.message}`);
    }
  }

  get #hears() {
    return byId("map-hear").getAttribute("aria-pressed") === "true";
  }

  #place({ x, y }) {
    const { clientWidth: wide, clientHeight: high } = this.frame;
    const margin = 3 * RADIUS;
    return [wide / 2 + x * (wide / 2 - margin), high / 2 - y * (high / 2 - margin)];
  }

  #under(event) {
    const box = this.frame.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let [best, nearest] = [REACH, null];
    for (const point of this.#points) {
      const [px, py] = this.#place(point);
      const away = Math.hypot(px - x, py - y);
      if (away < best) [best, nearest] = [away, point];
    }
    return nearest;
  }

  #hover(event) {
    const point = this.#under(event);
    clearTimeout(this.#timer);
    if (!point || point === this.#chosen) return;
    this.#timer = setTimeout(() => this.#choose(point, this.#hears), REST_MS);
  }

  #key(event) {
    if (event.key === "Enter" && this.#chosen) this.#play(this.#chosen);
    const arrow = ARROWS[event.key];
    if (!arrow) return;
    event.preventDefault();
    event.stopPropagation();
    const next = this.#chosen ? this.#neighbour(arrow) : this.#points[0];
    if (next) this.#choose(next, this.#hears);
  }

  /** The nearest point in a direction, off it by 45 degrees at most where there is one. */
  #neighbour([dx, dy]) {
    const { x, y } = this.#chosen;
    let [best, found] = [Infinity, null];
    for (const point of this.#points) {
      const [along, across] = [(point.x - x) * dx + (point.y - y) * dy, (point.x - x) * dy - (point.y - y) * dx];
      const away = Math.hypot(along, 3 * across);
      if (along > 0 && away < best) [best, found] = [away, point];
    }
    return found;
  }

  #choose(point, heard) {
    this.#chosen = point;
    const { id, title, creator, start_seconds: from, stop_seconds: to } = point;
    byId("map-point").textContent = [title || id, creator, `${clock(from)} – ${clock(to)}`].filter(Boolean).join(" · ");
    byId("map-open").hidden = false;
    byId("map-open").href = toAddress({ view: "listen", recording: id, from, to });
    this.#draw();
    if (heard) this.#play(point);
  }

  #play({ id, title, start_seconds: from, stop_seconds: to }) {
    const seconds = to - from;
    const fetch = (source, start, stop) => samples("audio", { recording: id, source: "original", start: from + start, stop: from + stop });
    this.tape = { key: `map ${id} ${from}`, name: title || id, seconds, rateHz: this.rateHz, slice: seconds, fetch };
    this.on.play(this.tape);
  }

  #draw() {
    const { clientWidth: wide, clientHeight: high } = this.frame;
    if (!wide || !high) return;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    Object.assign(this.canvas, { width: Math.round(wide * ratio), height: Math.round(high * ratio) });
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    const dot = (point, radius, colour) => {
      const [x, y] = this.#place(point);
      context.fillStyle = style.getPropertyValue(colour);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fill();
    };
    for (const point of this.#points) dot(point, RADIUS, "--accent");
    if (this.#chosen) {
      dot(this.#chosen, 2.4 * RADIUS, "--ink");
      dot(this.#chosen, 1.4 * RADIUS, "--holdout");
    }
  }
}
