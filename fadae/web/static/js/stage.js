// The stage: a recording's pictures, what of it is shown, the one play head, the selection's boxes.

import { byId, clock, decibels, make } from "./dom.js";
import { BandAxis, Picture } from "./picture.js";
import { outline, selectable } from "./selecting.js";
import { forgetWishes } from "./tiles.js";
import { whenThemeChanges } from "./colours.js";

const TILE_HOPS = 32;
// What the whole recording is shown as: tiles of so many seconds, columns in all.
const OVERVIEWS = {
  wave: { name: "waveform", kind: "wave", seconds: 900, columns: 1600, words: "waveform (square root), RMS inside" },
  bark: { name: "bark", kind: "level", seconds: 240, columns: 1000, words: "Bark bands, level in dB" },
};
const ROLES = {
  "held out": "The run did not train on this recording: its scores show how well the run generalises.",
  trained: "The run trained on this recording.",
  unseen: "The run neither trained on this recording nor held it out.",
};
const ZOOMS = [2.5, 5, 10, 20, 40];

export class Stage {
  #transform;
  #recording = null;
  #span = { start: 0, stop: 20 };
  #zoom = 20;
  #heard = "original";
  #run = null; // the run whose reconstruction and code are shown
  #range = null;
  #runs = [];
  #overview = OVERVIEWS.wave;

  /** `on`: {seek(seconds), choose(range, final), zoom(seconds)} */
  constructor(about, on) {
    this.on = on;
    this.#transform = about.transform;
    this.#runs = about.runs;
    this.axis = new BandAxis(about.transform);
    this.overview = new Picture(byId("overview-frame"), "wave");
    this.pictures = ["upper", "lower", "code"].map((id) => {
      const figure = byId(id);
      return { id, figure, picture: new Picture(figure.querySelector(".frame"), id === "code" ? "signed" : "level") };
    });
    for (const id of ["upper", "lower"]) this.axis.label(byId(id).querySelector(".scale"));
    this.#listen();
    whenThemeChanges(() => this.draw());
    new ResizeObserver(() => this.#markTimes()).observe(byId("times"));
  }

  #listen() {
    for (const { id, picture } of this.pictures) {
      selectable(picture.frame, {
        to: (across, up) => ({
          seconds: this.#span.start + across * (this.#span.stop - this.#span.start),
          hz: id === "code" ? null : this.axis.hertz(up),
        }),
        choose: (range, final) => this.on.choose(this.#bounded(range), final),
        click: (seconds) => this.on.seek(seconds),
        hover: (point) => this.#read(id, picture, point),
      });
    }
    selectable(this.overview.frame, {
      to: (across) => ({ seconds: across * (this.#recording?.seconds ?? 0), hz: null }),
      choose: (range, final) => this.on.choose(this.#bounded(range), final),
      click: (seconds) => this.on.seek(seconds),
    });
    byId("overview-kind").addEventListener("click", () => {
      this.#overview = this.#overview === OVERVIEWS.wave ? OVERVIEWS.bark : OVERVIEWS.wave;
      this.overview.kind = this.#overview.kind;
      byId("overview-kind").setAttribute("aria-pressed", String(this.#overview === OVERVIEWS.bark));
      byId("overview-words").textContent = this.#overview.words;
      this.draw();
    });
    byId("zoom-in").addEventListener("click", () => this.zoomBy(-1));
    byId("zoom-out").addEventListener("click", () => this.zoomBy(1));
  }

  #bounded(range) {
    return { ...range, to: Math.min(range.to, this.#recording.seconds) };
  }

  /** Put a recording on the stage. */
  show(recording, run) {
    this.#recording = recording;
    this.#range = null;
    byId("stage-empty").hidden = true;
    byId("stage-full").hidden = false;
    this.#run = run;
    this.#span = { start: 0, stop: this.#length() };
    this.#label();
    this.draw();
  }

  #length() {
    return Math.min(this.#zoom, this.#recording.seconds);
  }

  get #hopSeconds() {
    const { hop_samples: hop, rate_hz: rate } = this.#transform;
    return Number((hop / rate).toPrecision(2));
  }

  /** The run whose reconstruction is shown, or null. */
  get run() {
    return this.#run;
  }

  /** Say which source is heard; a run that is heard is the run that is shown. */
  hear(source) {
    this.#heard = source;
    if (this.#runs.some(({ name }) => name === source)) this.#run = source;
    this.#label();
    this.draw();
  }

  #label() {
    if (!this.#recording) return;
    const [upper, lower, code] = this.pictures.map(({ figure }) => figure);
    const known = this.#run != null;
    lower.hidden = code.hidden = !known;
    byId("stack").classList.toggle("alone", !known);
    upper.classList.toggle("heard", this.#heard === "original" || this.#heard === "transform");
    lower.classList.toggle("heard", this.#heard === this.#run);
    upper.querySelector(".name").textContent = this.#heard === "transform" ? "Transform of the original" : "Original";
    lower.querySelector(".name").textContent = known ? `Reconstruction by ${this.#run}` : "";
    const role = this.#recording.roles[this.#run];
    byId("role").hidden = !(role in ROLES);
    byId("role").textContent = role ?? "";
    byId("role").title = ROLES[role] ?? "";
    byId("role").dataset.role = role ?? "";
    const { bytes_a_row: bytes, kbps } = this.#runs.find(({ name }) => name === this.#run) ?? {};
    const size = bytes == null ? "" : `: ${Math.round(bytes).toLocaleString("en")} bytes`;
    code.querySelector(".name").textContent = `The code between${size}`;
    byId("code-size").textContent = bytes == null ? "" : `a row of ${this.#hopSeconds} s, ${kbps.toFixed(1)} kbps`;
    byId("scores").textContent = scoreWords(this.#recording.scores[this.#run]);
  }

  // --- what part is shown ---

  setZoom(seconds) {
    if (!ZOOMS.includes(seconds) || seconds === this.#zoom) return;
    this.#zoom = seconds;
    this.on.zoom(seconds);
  }

  zoomBy(steps) {
    const at = this.#playheadShown ?? (this.#span.start + this.#span.stop) / 2;
    const to = ZOOMS[Math.min(ZOOMS.length - 1, Math.max(0, ZOOMS.indexOf(this.#zoom) + steps))];
    this.setZoom(to);
    if (this.#recording) this.lookAt(at - this.#length() / 2);
  }

  #playheadShown = null;

  /** Show the part around a place: a little of what was, the rest of what comes. */
  lookAround(seconds) {
    this.lookAt(seconds - 0.04 * this.#length());
  }

  /** Show the part from a second on. */
  lookAt(start) {
    const length = this.#length();
    const first = Math.min(Math.max(0, start), this.#recording.seconds - length);
    this.#span = { start: first, stop: first + length };
    forgetWishes();
    this.draw();
  }

  /** Move the play head; turn the page when it leaves it. */
  place(seconds, playing) {
    if (!this.#recording) return;
    const { start, stop } = this.#span;
    const outside = seconds < start - 1e-6 || seconds > stop + (playing ? 0 : 1e-6);
    if (outside || (playing && seconds >= stop && stop < this.#recording.seconds - 1e-3)) {
      this.lookAt(seconds - (playing ? 0.04 : 0.3) * this.#length());
    }
    this.#playheadShown = seconds;
    const share = (seconds - this.#span.start) / (this.#span.stop - this.#span.start);
    const frame = this.pictures[0].picture.frame;
    moveTo(byId("stack-playhead"), frame.offsetLeft + share * frame.clientWidth);
    const overview = this.overview.frame;
    moveTo(overview.querySelector(".playhead"), (seconds / this.#recording.seconds) * overview.clientWidth);
    overview.setAttribute("aria-valuenow", seconds.toFixed(1));
    overview.setAttribute("aria-valuetext", `${clock(seconds)} of ${clock(this.#recording.seconds)}`);
  }

  // --- painting ---

  draw() {
    if (!this.#recording) return;
    const [upper, lower, code] = this.pictures;
    upper.picture.show(this.#span, this.#tiles("bands", { source: "original" }));
    if (this.#run != null) {
      lower.picture.show(this.#span, this.#tiles("bands", { source: this.#run }));
      code.picture.show(this.#span, this.#tiles("codes", { run: this.#run }));
    }
    this.overview.show({ start: 0, stop: this.#recording.seconds }, this.#overviewTiles());
    this.#describe();
    this.#markWindow();
    this.#markTimes();
    this.choose(this.#range);
  }

  /** Tiles of whole hops: their borders are those of rows, so that they fit without a seam. */
  #tiles(name, parameters) {
    const { id, seconds } = this.#recording;
    const { hop_samples: hop, rate_hz: rate } = this.#transform;
    const border = (tile) => (tile * TILE_HOPS * hop) / rate;
    const columns = this.#zoom <= 10 ? 16 : 8;
    return (start, stop) => {
      const first = Math.max(0, Math.floor(start / border(1)));
      const wished = [];
      for (let at = first; border(at) < Math.min(stop, seconds); at += 1) {
        const span = { start: border(at), stop: border(at + 1) };
        const more = name === "bands" ? { columns } : {};
        wished.push({ name, parameters: { recording: id, ...parameters, ...span, ...more } });
      }
      return wished;
    };
  }

  #overviewTiles() {
    const { id, seconds } = this.#recording;
    const run = this.#runs.find(({ name }) => name === this.#heard);
    const source = run?.reconstructed ? run.name : "original";
    const { name, seconds: long, columns: all } = this.#overview;
    return () => {
      const wished = [];
      for (let start = 0; start < seconds - 1e-3; start += long) {
        const stop = Math.min(start + long, seconds);
        const columns = Math.max(1, Math.round(((stop - start) / seconds) * all));
        wished.push({ name, parameters: { recording: id, source, start, stop, columns } });
      }
      return wished;
    };
  }

  #describe() {
    const span = `${clock(this.#span.start)} to ${clock(this.#span.stop)}`;
    const texts = [
      `Frequency-adaptive picture of the original, ${span}, ${this.axis.bands} bands`,
      `Frequency-adaptive picture of the reconstruction by ${this.#run}, ${span}`,
      `Code of run ${this.#run}, ${span}`,
    ];
    this.pictures.forEach(({ picture }, i) => picture.canvas.setAttribute("aria-label", texts[i]));
    byId("shown").textContent = span.replace(" to ", " – ");
    this.overview.frame.setAttribute("aria-valuemax", this.#recording.seconds.toFixed(1));
    byId("zoom-in").disabled = this.#zoom === ZOOMS[0];
    byId("zoom-out").disabled = this.#zoom === ZOOMS.at(-1) || this.#zoom >= this.#recording.seconds;
  }

  #markWindow() {
    const mark = this.overview.frame.querySelector(".window");
    mark.style.left = `${(this.#span.start / this.#recording.seconds) * 100}%`;
    mark.style.width = `${((this.#span.stop - this.#span.start) / this.#recording.seconds) * 100}%`;
    mark.hidden = this.#span.stop - this.#span.start >= this.#recording.seconds - 1e-3;
  }

  #markTimes() {
    if (!this.#recording) return;
    const { start, stop } = this.#span;
    const place = byId("times");
    const most = Math.max(2, place.clientWidth / 90);
    const step = [0.5, 1, 2, 5, 10, 20].find((size) => (stop - start) / size <= most) ?? 30;
    const marks = [];
    for (let at = Math.ceil(start / step) * step; at < stop; at += step) {
      const mark = make("span", {}, clock(at, step < 1));
      const share = (at - start) / (stop - start);
      mark.style.left = `clamp(0.9rem, ${share * 100}%, calc(100% - 0.9rem))`;
      marks.push(mark);
    }
    place.replaceChildren(...marks);
  }

  /** Outline the selection in every picture. */
  choose(range) {
    this.#range = range;
    const height = (hz) => this.axis.height(hz);
    for (const { id, picture } of this.pictures) {
      outline(picture.frame.querySelector(".chosen"), range, this.#span, id === "code" ? null : height);
    }
    const whole = { start: 0, stop: this.#recording?.seconds ?? 1 };
    outline(this.overview.frame.querySelector(".chosen"), range, whole, null);
  }

  #read(id, picture, point) {
    const place = byId("readout");
    if (!point) return;
    const byte = picture.value(point.seconds, point.up);
    const words = [clock(point.seconds, true)];
    if (id !== "code") words.push(this.axis.words(point.up));
    if (byte != null) words.push(id === "code" ? `code ${signed((byte - 127.5) / 127.5)}` : `magnitude ${(byte / 255).toFixed(2)}`);
    place.textContent = words.join(" · ");
  }
}

function signed(value) {
  return `${value < -0.005 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
}

function moveTo(playhead, x) {
  playhead.style.visibility = "visible";
  playhead.style.transform = `translateX(${x.toFixed(2)}px)`;
}

function scoreWords(scores) {
  if (!scores) return "computed as you listen";
  const words = [];
  const add = (name, value) => {
    if (value != null) words.push(`${name} ${decibels(value)}`);
  };
  add("SNR", scores.snr_db);
  add("NMSE", scores.nmse_db);
  add("log-spectral distance", scores.log_spectral_distance_db);
  return words.join(" · ") || "no scores: there is nothing to compare";
}
