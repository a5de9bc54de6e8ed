// Plays a tape slice by slice, so that length costs nothing and a switch keeps the place.
//
// A tape has sources that share one time line (original, transform, runs). Time is counted from an
// anchor: the audio clock's time and the tape's place then. A slice starts when its place comes, to
// the sample; another source is laid on the same anchor and faded in, so nothing moves.
//
// The place counts on through loops: the n-th slice of a range knows its lap, and what is heard is
// the place modulo the range's length.

const SLICE_SECONDS = 5;
const AHEAD_SECONDS = 8;
const FADE_SECONDS = 0.02;
const LEAD_SECONDS = 0.03;
const SURE_SECONDS = 1; // what must be here before another source takes over
const KEPT_SLICES = 120;

export class Player extends EventTarget {
  #context = null;
  #tape = null; // { key, seconds, rateHz, slice?, fetch(source, start, stop, band) -> Float32Array }
  #range = null; // { from, to, low, high } to hear alone, or null
  #anchor = { time: 0, place: 0 };
  #place = 0; // while not playing
  #voice = null; // what is heard
  #next = null; // what will be heard, once its slice is here
  #slices = new Map(); // key -> AudioBuffer | Promise, least recently used first
  #timer = 0;
  state = "paused"; // paused | playing | waiting
  source = null;

  /** Put in a tape, at a place in seconds; what played stops. */
  load(tape, source, at = 0) {
    this.pause();
    this.#tape = tape;
    this.#range = null;
    this.source = source;
    this.#place = Math.min(Math.max(at, 0), tape?.seconds ?? 0);
    this.#tell("moved");
  }

  get tape() {
    return this.#tape;
  }

  /** The place on the tape that is heard now, in seconds. */
  get position() {
    if (!this.#tape) return 0;
    const late = this.#context?.outputLatency || 0;
    const place = this.state === "playing" ? Math.max(this.#now() - late, 0) : this.#place;
    return this.#onTape(place);
  }

  /** Hear another source from the very place where this one is. */
  select(source) {
    if (source === this.source) return;
    this.source = source;
    this.#replaceVoice();
    this.#tell("source");
  }

  /** Hear only a range, looped, of time and of bands; null for the whole tape. */
  hear(range) {
    const at = this.position;
    const rate = this.#tape?.rateHz ?? 1;
    const toSample = (seconds) => Math.round(seconds * rate) / rate;
    this.#range = range && { ...range, from: toSample(range.from), to: toSample(range.to) };
    const { from, to } = this.#bounds();
    this.seek(at >= from && at < to ? at : from);
  }

  seek(seconds) {
    if (!this.#tape) return;
    const { from, to } = this.#bounds();
    const place = Math.min(Math.max(seconds, from), to) - from;
    this.#place = place;
    if (this.state !== "paused") {
      this.#stopVoices();
      this.#set("waiting");
      this.#continue();
    }
    this.#tell("moved");
  }

  async play() {
    if (!this.#tape || this.state !== "paused") return;
    this.#context ??= openContext(this.#tape.rateHz);
    if (!this.#range && this.#place >= this.#tape.seconds - 0.01) this.#place = 0;
    this.#set("waiting");
    await this.#context.resume();
    if (this.state !== "waiting") return;
    this.#timer = setInterval(() => this.#tend(), 100);
    this.#continue();
  }

  pause() {
    if (this.state === "paused") return;
    if (this.state === "playing") this.#place = this.#now();
    clearInterval(this.#timer);
    this.#stopVoices();
    this.#set("paused");
  }

  // --- time ---

  #now() {
    return this.#anchor.place + Math.max(0, this.#context.currentTime - this.#anchor.time);
  }

  /** A time of the audio clock, moved to its next sample: what starts there is not shifted. */
  #onGrid(time) {
    return Math.ceil(time * this.#context.sampleRate) / this.#context.sampleRate;
  }

  #bounds() {
    return this.#range ?? { from: 0, to: this.#tape.seconds };
  }

  #onTape(place) {
    const { from, to } = this.#bounds();
    if (!this.#range) return Math.min(place, to);
    return from + (to > from ? place % (to - from) : 0);
  }

  /** The slice in which a place lies: its number counted through all laps, its place and span. */
  #sliceAt(place) {
    const { from, to } = this.#bounds();
    const length = to - from;
    const size = this.#tape.slice ?? SLICE_SECONDS;
    if (!this.#range && place >= length - 0.5 / this.#tape.rateHz) return null; // the tape's end
    const lap = this.#range ? Math.floor(place / length + 1e-9) : 0;
    const number = Math.max(0, Math.floor((place - lap * length) / size + 1e-9));
    const start = from + number * size;
    const stop = Math.min(start + size, to);
    if (stop - start < 0.5 / this.#tape.rateHz) return null; // a range of nothing
    return { place: lap * length + number * size, start, stop };
  }

  // --- slices ---

  #key(source, slice) {
    const { low, high } = this.#range ?? {};
    return [this.#tape.key, source, slice.start, slice.stop, low, high].join("|");
  }

  #fetched(source, slice) {
    const key = this.#key(source, slice);
    if (!this.#slices.has(key)) {
      const band = this.#range && { low: this.#range.low, high: this.#range.high };
      const { rateHz } = this.#tape;
      const promise = this.#tape.fetch(source, slice.start, slice.stop, band).then((samples) => {
        const buffer = this.#context.createBuffer(1, Math.max(samples.length, 1), rateHz);
        buffer.copyToChannel(samples, 0);
        this.#slices.set(key, buffer);
      });
      this.#slices.set(key, promise);
      promise.then(() => this.#tend(), (error) => this.#fail(key, error));
      if (this.#slices.size > KEPT_SLICES) this.#slices.delete(this.#slices.keys().next().value);
    }
    const kept = this.#slices.get(key);
    return kept instanceof AudioBuffer ? kept : null;
  }

  #fail(key, error) {
    this.#slices.delete(key);
    if (this.state === "paused") return;
    this.pause();
    this.dispatchEvent(new CustomEvent("trouble", { detail: error.message }));
  }

  // --- voices ---

  #newVoice(source) {
    const gain = this.#context.createGain();
    gain.connect(this.#context.destination);
    return { source, gain, nodes: new Map() };
  }

  #replaceVoice() {
    if (this.state === "paused") return;
    if (this.#next) this.#silence(this.#next, 0);
    this.#next = null;
    if (this.state === "waiting") this.#stopVoices();
    else if (this.#voice?.source !== this.source) this.#next = this.#newVoice(this.source);
    this.#tend();
  }

  #silence(voice, fade) {
    const at = this.#context.currentTime;
    voice.gain.gain.cancelScheduledValues(at);
    voice.gain.gain.setValueAtTime(1, at);
    voice.gain.gain.linearRampToValueAtTime(0, at + fade);
    for (const node of voice.nodes.values()) node.stop(at + fade + 0.01);
    voice.nodes.clear();
  }

  #stopVoices() {
    for (const voice of [this.#voice, this.#next]) if (voice) this.#silence(voice, FADE_SECONDS);
    this.#voice = this.#next = null;
  }

  /** Lay out the slices that are here and soon to be heard; ask for those that are not. */
  #schedule(voice) {
    const now = this.#now();
    let place = now;
    while (place < now + AHEAD_SECONDS) {
      const slice = this.#sliceAt(place);
      if (!slice) return;
      const buffer = this.#fetched(voice.source, slice);
      if (buffer && !voice.nodes.has(slice.place)) this.#start(voice, slice, buffer);
      place = slice.place + (slice.stop - slice.start) + 1e-6;
    }
  }

  #start(voice, slice, buffer) {
    const node = this.#context.createBufferSource();
    node.buffer = buffer;
    node.connect(voice.gain);
    const due = this.#anchor.time + slice.place - this.#anchor.place;
    const now = this.#context.currentTime;
    const when = due >= now ? due : this.#onGrid(now + 0.01);
    if (when - due >= buffer.duration) return;
    node.start(when, when - due);
    node.onended = () => voice.nodes.delete(slice.place);
    voice.nodes.set(slice.place, node);
  }

  /** Called ten times a second while playing, and whenever a slice arrives. */
  #tend() {
    if (this.state === "waiting") this.#continue();
    if (this.state !== "playing") return;
    const here = this.#sliceAt(this.#now());
    if (!here || (!this.#range && this.#now() >= this.#tape.seconds)) {
      this.pause();
      this.#place = this.#tape.seconds;
      this.#tell("moved");
      return;
    }
    if (this.#next) {
      this.#schedule(this.#next);
      const soon = this.#sliceAt(this.#now() + SURE_SECONDS) ?? here;
      const ready = this.#next.nodes.size && this.#fetched(this.#next.source, soon);
      if (ready) this.#fadeOver();
    }
    this.#schedule(this.#voice);
    if (!this.#fetched(this.#voice.source, here)) {
      this.#place = this.#now();
      this.#stopVoices();
      this.#set("waiting");
    }
  }

  #fadeOver() {
    const at = this.#context.currentTime;
    this.#next.gain.gain.setValueAtTime(0, at);
    this.#next.gain.gain.linearRampToValueAtTime(1, at + FADE_SECONDS);
    this.#silence(this.#voice, FADE_SECONDS);
    this.#voice = this.#next;
    this.#next = null;
    this.#tell("heard");
  }

  /** Start from the kept place as soon as its slice is here. */
  #continue() {
    const slice = this.#sliceAt(this.#place);
    if (!slice) return this.pause();
    if (!this.#fetched(this.source, slice)) return undefined;
    const rate = this.#tape.rateHz;
    this.#anchor = {
      time: this.#onGrid(this.#context.currentTime + LEAD_SECONDS),
      place: Math.round(this.#place * rate) / rate,
    };
    this.#voice = this.#newVoice(this.source);
    this.#set("playing");
    this.#schedule(this.#voice);
    this.#tell("heard");
    return undefined;
  }

  /** The source that sounds now: the chosen one, once it is here. */
  get heard() {
    return this.#voice?.source ?? this.source;
  }

  #set(state) {
    if (this.state === state) return;
    this.state = state;
    this.#tell("state");
  }

  #tell(what) {
    this.dispatchEvent(new Event(what));
  }
}

/** At the tape's own rate nothing is resampled slice by slice, so no seam can be heard. */
function openContext(rateHz) {
  const AudioContext = window.AudioContext ?? window.webkitAudioContext;
  try {
    return new AudioContext({ sampleRate: rateHz, latencyHint: "interactive" });
  } catch {
    return new AudioContext();
  }
}
