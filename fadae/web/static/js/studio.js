// The studio: music that was never played, by run, method and seed.

import { address, json, samples, raster } from "./api.js";
import { announce, byId, clock, make, trouble } from "./dom.js";
import { BandAxis } from "./picture.js";
import { painted } from "./tiles.js";
import { whenThemeChanges } from "./colours.js";

const NOTES = {
  walk: "Walk: the code moves from frame to frame as it does in the run's recordings, along its principal axes.",
  normal: "Draw: each frame's code is drawn independently, as in the 2017 experiment.",
  interpolate: "Between: the code of one recording turns into that of another.",
};
// What models with methods of their own do under these names; of other names nothing is known here.
const OWN_NOTES = {
  random: "Random: each row decodes random bytes. It is a draw from what the model learned and knows nothing of the row before.",
  walk: "Walk: each row is drawn given the row before, so what is loud mostly stays loud. The model knows no melody and no metre.",
};
const LABELS = { walk: "Walk", normal: "Draw", interpolate: "Between", random: "Random" };

export class Studio {
  #about;
  #entry = null;
  #made = 0;
  #methods = Object.keys(NOTES).map((name) => ({ name, own: false }));
  #offered = null; // the promise of the shown run's methods, and that run
  #wanted = null; // a method that an address names, until it is offered

  /** `on`: {play(tape), seek(seconds), remember(settings)} */
  constructor(about, on) {
    this.#about = about;
    this.on = on;
    const runs = about.runs.filter(({ trained }) => trained);
    byId("generate-run").replaceChildren(...runs.map(({ name }) => make("option", { value: name }, name)));
    byId("generate").hidden = !runs.length || !about.transform;
    byId("generate-empty").hidden = !byId("generate").hidden;
    byId("method-note").hidden = byId("generate").hidden;
    this.form = byId("generate");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.form.reportValidity()) this.make();
    });
    this.form.addEventListener("change", () => {
      this.#wanted = null;
      this.#offer();
      this.#note();
    });
    byId("another").addEventListener("click", () => {
      byId("generate-seed").value = String(Math.floor(Math.random() * 2 ** 32));
      if (this.form.reportValidity()) this.make();
    });
    for (const name of ["first", "second"]) this.#suggest(byId(`generate-${name}`));
    whenThemeChanges(() => this.#paint());
    new ResizeObserver(() => this.#paint()).observe(byId("generated"));
    const frame = byId("generated").querySelector(".frame");
    frame.addEventListener("click", (event) => {
      const box = frame.getBoundingClientRect();
      if (this.shown) this.on.seek(((event.clientX - box.left) / box.width) * this.shown.seconds);
    });
    this.#note();
  }

  #suggest(input) {
    const list = byId("suggestions");
    let timer = 0;
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(async () => {
        const found = await json("recordings", { search: input.value.slice(0, 200), limit: 20 }).catch(() => null);
        if (!found) return;
        list.replaceChildren(...found.recordings.map(({ id, title }) => make("option", { value: id }, title)));
      }, 180);
    });
  }

  /** Show the methods of the chosen run, once its model has told them. */
  #offer() {
    const run = byId("generate-run").value;
    if (!run || this.#offered?.run === run) return;
    const offered = (this.#offered = { run });
    offered.done = json("methods", { run }).then(({ methods }) => {
      if (offered === this.#offered) this.#choose(methods);
    }, (error) => {
      if (offered === this.#offered) this.#offered = null;
      trouble(`The methods of run ${run} are not known: ${error.message}`);
    });
  }

  #choose(methods) {
    const place = byId("generate-methods");
    const wanted = this.#wanted ?? this.settings.method;
    const shown = [...place.querySelectorAll("input")].map(({ value }) => value);
    const names = methods.map(({ name }) => name);
    if (names.join() !== shown.join()) {
      const choices = names.map((name) => make("label", {},
        make("input", { type: "radio", name: "method", value: name }),
        make("span", {}, LABELS[name] ?? name)));
      place.replaceChildren(place.querySelector("legend"), ...choices);
    }
    this.#methods = methods;
    this.#pick(names.includes(wanted) ? wanted : names[0]);
    this.form.querySelector(".primary").disabled = !names.length;
    this.#note();
  }

  #pick(method) {
    for (const input of this.form.querySelectorAll("input[name=method]")) input.checked = input.value === method;
  }

  #note() {
    const { method } = this.settings;
    const own = this.#methods.some(({ name, own }) => own && name === method);
    const known = own ? OWN_NOTES : NOTES;
    const unknown = method ? "A method of the run's own model." : "This run's model makes no codes of its own.";
    byId("method-note").textContent = known[method] ?? unknown;
    const between = method === "interpolate";
    for (const [kind, shown] of [[".between", between], [".seeded", !between]]) {
      for (const part of this.form.querySelectorAll(kind)) {
        part.hidden = !shown;
        for (const input of part.querySelectorAll("input")) input.required = shown;
      }
    }
  }

  get settings() {
    const method = this.form.querySelector("input[name=method]:checked")?.value ?? null;
    const between = method === "interpolate";
    return {
      run: byId("generate-run").value,
      method,
      seconds: Number(byId("generate-seconds").value),
      seed: between ? null : Number(byId("generate-seed").value),
      first: between ? byId("generate-first").value.trim() : null,
      second: between ? byId("generate-second").value.trim() : null,
    };
  }

  /** Take settings from an address. */
  restore(state) {
    const runs = [...byId("generate-run").options].map(({ value }) => value);
    if (runs.includes(state.run)) byId("generate-run").value = state.run;
    if (state.method) this.#wanted = state.method;
    if (this.#methods.some(({ name }) => name === state.method)) this.#pick(state.method);
    this.#offer();
    if (state.seed != null) byId("generate-seed").value = state.seed;
    if (state.seconds != null) byId("generate-seconds").value = state.seconds;
    for (const name of ["first", "second"]) if (state[name]) byId(`generate-${name}`).value = state[name];
    this.#note();
  }

  async make() {
    await this.#offered?.done;
    const settings = this.settings;
    if (!settings.run || !settings.method) return;
    const number = (this.#made += 1);
    this.on.remember(settings);
    const figure = byId("generated");
    const button = this.form.querySelector(".primary");
    figure.hidden = false;
    figure.querySelector(".frame").classList.add("loading");
    button.disabled = true;
    try {
      const [picture, sound] = await Promise.all([
        raster("generated", { ...settings, as: "picture" }),
        samples("generated", settings),
      ]);
      if (number !== this.#made) return;
      this.#show(settings, picture, sound);
    } catch (error) {
      figure.hidden = !this.#entry;
      trouble(`Nothing was generated: ${error.message}`);
    } finally {
      button.disabled = false;
      figure.querySelector(".frame").classList.remove("loading");
    }
  }

  #show(settings, picture, sound) {
    const rateHz = this.#about.transform.rate_hz;
    const seconds = sound.length / rateHz;
    this.#entry = { picture, canvas: null };
    this.shown = { seconds };
    const words = settings.seed == null ? "between two recordings" : `seed ${settings.seed}`;
    const name = `${settings.run}, ${words}, ${clock(seconds)}`;
    byId("generated").querySelector(".name").textContent = name;
    byId("generated").querySelector("canvas").setAttribute("aria-label", `Frequency-adaptive picture of ${name}`);
    const save = byId("generated-save");
    save.href = address("generated", settings);
    save.download = `fadae-${settings.run}-${settings.seed ?? "between"}.wav`;
    new BandAxis(this.#about.transform).label(byId("generated").querySelector(".scale"));
    this.#paint();
    this.tape = {
      key: `generated ${JSON.stringify(settings)}`,
      name,
      seconds,
      rateHz,
      slice: seconds,
      fetch: async () => sound,
    };
    this.on.play(this.tape);
    byId("generated").scrollIntoView({ block: "nearest", behavior: "smooth" });
    announce(`Generated ${name}. Playing.`);
  }

  #paint() {
    const frame = byId("generated").querySelector(".frame");
    if (!this.#entry || !frame.clientWidth) return;
    this.#entry.canvas = null;
    const canvas = frame.querySelector("canvas");
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = Math.round(frame.clientWidth * ratio);
    canvas.height = Math.round(frame.clientHeight * ratio);
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    const { stop } = this.#entry.picture;
    const wide = (canvas.width * stop) / this.shown.seconds;
    context.drawImage(painted(this.#entry, "level", canvas.height), 0, 0, wide, canvas.height);
  }

  /** Move the play head of the generated picture. */
  place(seconds) {
    const frame = byId("generated").querySelector(".frame");
    const playhead = frame.querySelector(".playhead");
    if (!this.shown) return;
    playhead.style.visibility = "visible";
    playhead.style.transform = `translateX(${((seconds / this.shown.seconds) * frame.clientWidth).toFixed(2)}px)`;
  }
}
