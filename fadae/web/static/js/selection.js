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
  #due = new Map(); // what a focused field will say once it is left

  /** Whether a range is shown that is still being dragged. */
  previewing = false;

  constructor(store, transform) {
    this.#store = store;
    this.#transform = transform;
    for (const name of FIELDS) {
      const field = byId(name);
      field.addEventListener("change", () => this.read(false));
      field.addEventListener("input", () => this.#due.delete(name));
      field.addEventListener("blur", () => {
        if (this.#due.has(name)) this.#write(name, this.#due.get(name));
      });
    }
    byId("clear").addEventListener("click", () => this.clear());
  }

  /** Select in a recording from now on; empty fields say how far it and its bands go. */
  open(recording) {
    this.#recording = recording;
    const [bottom, top] = this.#bands;
    const ends = { from: "0.00", to: recording.seconds.toFixed(2), low: bottom.toFixed(0), high: top.toFixed(0) };
    for (const [name, text] of Object.entries(ends)) byId(name).placeholder = text;
  }

  get #bands() {
    return [this.#transform.band_low_hz[0], this.#transform.band_high_hz.at(-1)];
  }

  /** What is selected, {from, to, low, high} (low and high null for all bands), or null. */
  get range() {
    const { from, to, low, high } = this.#store.state;
    if (!this.#recording || [from, to, low, high].every((value) => value == null)) return null;
    const range = { from: from ?? 0, to: Math.min(to ?? Infinity, this.#recording.seconds), low: null, high: null };
    if (range.from >= range.to) return null;
    if (low == null && high == null) return range;
    const [bottom, top] = this.#bands;
    Object.assign(range, { low: low ?? bottom, high: Math.min(high ?? top, top) });
    return range.low < range.high && range.high > bottom ? range : null;
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
    this.#fill(range && this.#store.state); // an end that nobody gave stays an empty field
    byId("only").disabled = byId("clear").disabled = !range;
    this.offer(source);
  }

  #fill(values) {
    for (const name of FIELDS) {
      this.#due.delete(name);
      const text = values?.[name]?.toFixed(name === "from" || name === "to" ? 2 : 0) ?? "";
      // Who is typing is not interrupted.
      if (document.activeElement === byId(name)) this.#due.set(name, text);
      else this.#write(name, text);
    }
  }

  #write(name, text) {
    byId(name).value = text;
    byId(name).removeAttribute("aria-invalid");
  }

  /** Take the selection from its fields; one end alone counts once it is submitted. */
  read(submitted) {
    const typed = (name) => (byId(name).value === "" ? null : byId(name).valueAsNumber);
    const [from, to, low, high] = FIELDS.map(typed);
    const [refused, reason] = this.#refusal({ from, to, low, high });
    for (const name of FIELDS) {
      if (refused.includes(name)) byId(name).setAttribute("aria-invalid", "true");
      else byId(name).removeAttribute("aria-invalid");
    }
    if (reason) trouble(reason);
    else if (submitted || (from == null) === (to == null)) {
      this.#store.set({ from, to: to && Math.min(to, this.#recording.seconds), low, high });
    }
  }

  /** Return which fields cannot stand as they are, and why. */
  #refusal({ from, to, low, high }) {
    const wrong = FIELDS.filter((name) => byId(name).validity.badInput || byId(name).valueAsNumber < 0);
    if (wrong.length) return [wrong, "Seconds and hertz are numbers from 0 up."];
    const { seconds } = this.#recording;
    if (from != null && from >= seconds) return [["from"], `The recording ends at ${seconds.toFixed(2)} seconds.`];
    const [bottom, top] = this.#bands;
    const outside = [
      ...(low != null && low >= top ? ["low"] : []),
      ...(high != null && (high > Math.ceil(top) || high <= bottom) ? ["high"] : []),
    ];
    if (outside.length) return [outside, `The bands reach from ${bottom.toFixed(0)} to ${top.toFixed(0)} Hz.`];
    const backwards = (start, stop) => start != null && stop != null && start >= stop;
    if (backwards(from ?? 0, to)) return [["from", "to"], "The selection must end after it starts."];
    if (backwards(low, high)) return [["low", "high"], "The highest frequency must lie above the lowest."];
    return [[], ""];
  }

  /** Offer the selection, or a short recording whole, of a source as a file. */
  offer(source) {
    const recording = this.#recording;
    const whole = byId("whole");
    whole.href = address("piece", { recording: recording.id, source });
    whole.textContent = `FLAC of ${source}`;
    whole.title = "The whole recording, as a file";
    const link = byId("save");
    const range = this.range ?? { from: 0, to: recording.seconds };
    const possible = range.to - range.from <= LONGEST_SAVED_SECONDS;
    link.setAttribute("aria-disabled", String(!possible));
    link.title = possible ? "" : `Select up to ${LONGEST_SAVED_SECONDS} seconds to save them`;
    if (possible) link.removeAttribute("role");
    else {
      link.setAttribute("role", "link"); // without an address it would be none
      link.removeAttribute("href");
      return;
    }
    link.href = address("audio", {
      recording: recording.id, source, start: range.from, stop: range.to, low_hz: range.low, high_hz: range.high,
    });
    link.download = `${recording.title.slice(0, 60).replace(/[^\p{L}\p{N} ._-]/gu, "_")} (${source}).wav`;
  }
}
