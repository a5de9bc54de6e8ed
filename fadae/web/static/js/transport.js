// The transport: play, clock, what to hear.

import { announce, byId, clock, make } from "./dom.js";

export class Transport {
  constructor(player, onSource) {
    this.player = player;
    this.onSource = onSource;
    byId("play").addEventListener("click", () => this.toggle());
    player.addEventListener("state", () => this.#state());
    player.addEventListener("heard", () => this.#heard());
  }

  /** Offer sources: [{name, label}]. */
  offer(sources) {
    this.sources = sources;
    const place = byId("sources");
    const legend = place.querySelector("legend");
    const choices = sources.map(({ name, label }) => {
      const input = make("input", { type: "radio", name: "source", value: name, onchange: () => this.onSource(name) });
      return make("label", {}, input, make("span", { title: label }, label));
    });
    place.replaceChildren(legend, ...choices);
  }

  /** Mark the chosen source. */
  choose(name) {
    for (const input of byId("sources").querySelectorAll("input")) {
      input.checked = input.value === name;
      input.nextSibling.classList.toggle("loading", input.checked && this.player.state === "playing" && this.player.heard !== name);
      if (input.checked) input.parentElement.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }

  toggle() {
    if (this.player.state === "paused") this.player.play();
    else this.player.pause();
  }

  /** Name what is on the tape. */
  load(tape) {
    byId("play").disabled = !tape;
    byId("duration").textContent = clock(tape?.seconds ?? 0, true);
    if (!tape) this.place(0);
    byId("playing").textContent = tape?.name ?? "";
  }

  place(seconds) {
    const text = clock(seconds, true);
    const now = byId("now");
    if (now.textContent !== text) now.textContent = text;
  }

  #state() {
    const { state } = this.player;
    const place = byId("transport");
    place.classList.toggle("playing-now", state !== "paused");
    place.classList.toggle("waiting", state === "waiting");
    byId("play").setAttribute("aria-label", state === "paused" ? "Play" : "Pause");
    document.body.dataset.player = state;
  }

  #heard() {
    document.body.dataset.heard = this.player.heard;
    this.choose(this.player.source);
    const source = this.sources?.find(({ name }) => name === this.player.heard);
    if (source) announce(`Playing ${source.label}`);
  }
}
