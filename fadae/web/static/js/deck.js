// Plays one of several sounds that run in step: a switch changes what is heard, never the place.

const FADE_SECONDS = 0.01;
const LEAD_SECONDS = 0.03;

/** Sounds of one length, looped together; all run all the time, one of them is heard. */
export class Deck {
  #context = null;
  #sounds = new Map(); // mark -> Float32Array
  #voices = new Map(); // mark -> { node, gain }
  #heard = null;

  /** `changed` is called whenever another sound, or none, is heard. */
  constructor(changed) {
    this.changed = changed;
  }

  /** Put in sounds, [mark, samples] each, at a rate; what played stops. */
  load(sounds, rateHz) {
    this.stop();
    this.rateHz = rateHz;
    this.#sounds = new Map(sounds);
  }

  /** The mark of what is heard now, or null. */
  get heard() {
    return this.#heard;
  }

  /** Hear a sound, from the very place where another one is. */
  async hear(mark) {
    this.#context ??= openContext(this.rateHz);
    await this.#context.resume();
    if (!this.#voices.size) this.#start();
    const at = this.#context.currentTime;
    for (const [name, { gain }] of this.#voices) {
      const to = name === mark ? 1 : 0;
      gain.gain.cancelScheduledValues(at);
      gain.gain.setValueAtTime(name === this.#heard ? 1 : 0, at);
      gain.gain.linearRampToValueAtTime(to, at + FADE_SECONDS);
    }
    this.#heard = mark;
    this.changed();
  }

  stop() {
    for (const { node } of this.#voices.values()) node.stop();
    this.#voices.clear();
    this.#heard = null;
    this.changed();
  }

  #start() {
    const rate = this.#context.sampleRate;
    const when = Math.ceil((this.#context.currentTime + LEAD_SECONDS) * rate) / rate;
    for (const [mark, samples] of this.#sounds) {
      const buffer = this.#context.createBuffer(1, samples.length, this.rateHz);
      buffer.copyToChannel(samples, 0);
      const [node, gain] = [this.#context.createBufferSource(), this.#context.createGain()];
      Object.assign(node, { buffer, loop: true });
      gain.gain.value = 0;
      node.connect(gain).connect(this.#context.destination);
      node.start(when, 0);
      this.#voices.set(mark, { node, gain });
    }
  }
}

function openContext(rateHz) {
  try {
    return new AudioContext({ sampleRate: rateHz, latencyHint: "interactive" });
  } catch {
    return new AudioContext();
  }
}
