// The selection: seconds of a recording and hertz, if any; its fields, and the file it saves.

import { address } from "./api.js";
import { byId, trouble } from "./dom.js";

const FIELDS = ["from", "to", "low", "high"];
const NONE = { from: null, to: null, low: null, high: null };
const LONGEST_SAVED_SECONDS = 30; // what the server gives at once

export class Selection {
  #store;
  #transform;
  #recording = null;

  /** Whether a range is shown that is still being dragged. */
  previewing = false;

  constructor(store, transform) {
    this.#store = store;
    this.#transform = transform;
    for (const name of FIELDS) byId(name).addEventListener("change", () => this.read(false));
    byId("clear").addEventListener("click", () => this.clear());
  }

  /** Select in a recording from now on. */
  open(recording) {
    this.#recording = recording;
  }

  /** What is selected, {from, to, low, high} (low and high null for all bands), or null. */
  get range() {
    const { from, to, low, high } = this.#store.state;
    if (!this.#recording || from == null || to == null) return null;
    const end = Math.min(to, this.#recording.seconds);
    if (from >= end) return null;
    const whole = low == null && high == null;
    const { band_low_hz: lows, band_high_hz: highs } = this.#transform;
    return { from, to: end, low: whole ? null : low ?? lows[0], high: whole ? null : high ?? highs.at(-1) };
  }

  choose({ from, to, low, high }) {
    this.previewing = false;
    this.#store.set({ from, to, low, high });
  }

  clear() {
    this.choose(NONE);
  }

  /** Let the selection start ("from") or end ("to") at a second. */
  mark(side, seconds) {
    if (!this.#recording) return;
    const { from, to } = this.#store.state;
    if (side === "from") {
      this.#store.set({ from: seconds, to: to != null && to > seconds ? to : this.#recording.seconds });
    } else if (seconds > 0) {
      this.#store.set({ from: from != null && from < seconds ? from : 0, to: seconds });
    }
  }

  /** Fill the fields with a range that is still being dragged. */
  preview(range) {
    this.previewing = true;
    this.#fill(range);
  }

  /** Fill the fields with what is selected, and offer it of a source as a file. */
  show(source) {
    const { range } = this;
    this.#fill(range);
    byId("only").disabled = byId("clear").disabled = !range;
    this.offer(source);
  }

  #fill(range) {
    const values = { from: range?.from.toFixed(2), to: range?.to.toFixed(2), low: range?.low?.toFixed(0), high: range?.high?.toFixed(0) };
    for (const [name, value] of Object.entries(values)) {
      if (document.activeElement !== byId(name)) byId(name).value = value ?? "";
    }
  }

  /** Take the selection from its fields; one end alone counts once it is submitted. */
  read(submitted) {
    const field = (name) => (byId(name).value === "" ? null : Math.max(0, byId(name).valueAsNumber));
    const [from, to, low, high] = FIELDS.map(field);
    if (from == null && to == null && low == null && high == null) {
      this.clear();
    } else if (submitted || (from == null) === (to == null)) {
      const range = { from: from ?? 0, to: to ?? this.#recording.seconds, low, high };
      const backwards = range.from >= range.to || (low != null && high != null && low >= high);
      if (backwards) trouble("A selection runs from a smaller to a larger number.");
      else this.#store.set(range);
    }
  }

  /** Offer the selection, or a short recording whole, of a source as a file. */
  offer(source) {
    const recording = this.#recording;
    const link = byId("save");
    const range = this.range ?? { from: 0, to: recording.seconds };
    const possible = range.to - range.from <= LONGEST_SAVED_SECONDS;
    link.setAttribute("aria-disabled", String(!possible));
    link.title = possible ? "" : `Select up to ${LONGEST_SAVED_SECONDS} seconds to save them`;
    if (!possible) {
      link.removeAttribute("href");
      return;
    }
    link.href = address("audio", {
      recording: recording.id, source, start: range.from, stop: range.to, low_hz: range.low, high_hz: range.high,
    });
    link.download = `${recording.title.slice(0, 60).replace(/[^\p{L}\p{N} ._-]/gu, "_")} (${source}).wav`;
  }
}
