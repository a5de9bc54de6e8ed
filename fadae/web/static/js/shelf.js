// The shelf: recordings found, a page at a time as the list is scrolled.

import { json } from "./api.js";
import { byId, clock, make, trouble } from "./dom.js";
import { toAddress } from "./store.js";

const PAGE = 60;

export class Shelf {
  #text = null;
  #shown = [];
  #total = 0;
  #asking = null;
  #first = null; // the promise of the first page
  #current = null;
  #run = null; // whose held-out recordings are marked

  constructor(onSearch) {
    this.list = byId("recordings");
    let timer = 0;
    byId("search").addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => onSearch(byId("search").value.trim()), 180);
    });
    byId("search-form").addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(timer);
      onSearch(byId("search").value.trim());
      this.list.querySelector("a")?.focus();
    });
    this.list.addEventListener("keydown", (event) => {
      const steps = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const links = [...this.list.querySelectorAll("a")];
      const next = steps && links[links.indexOf(event.target.closest("a")) + steps];
      if (!next) return;
      event.preventDefault();
      next.focus();
    });
    this.list.addEventListener("scroll", () => {
      const { scrollTop, clientHeight, scrollHeight } = this.list;
      if (scrollTop + clientHeight > scrollHeight - 600) this.#more();
    }, { passive: true });
  }

  /** Search, unless these words are already there. */
  async search(text, again = false) {
    if (text === this.#text && !again) return;
    this.#text = text;
    const field = byId("search");
    if (document.activeElement !== field) field.value = text;
    this.#asking?.abort();
    this.#asking = null;
    this.#shown = [];
    this.#total = Infinity;
    this.#first = this.#more();
    await this.#first;
  }

  /** Return the id of the first recording found, or null. */
  async first() {
    await this.#first;
    return this.#shown[0]?.id ?? null;
  }

  async #more() {
    if (this.#asking || this.#shown.length >= this.#total) return;
    const asking = new AbortController();
    this.#asking = asking;
    const offset = this.#shown.length;
    try {
      const answer = await json("recordings", { search: this.#text, offset, limit: PAGE }, asking.signal);
      this.#total = answer.total;
      this.#shown.push(...answer.recordings);
      const rows = answer.recordings.map((recording) => this.#row(recording));
      if (offset) this.list.append(...rows);
      else this.list.replaceChildren(...rows);
      if (!offset) this.list.scrollTop = 0;
      this.#count();
      this.badge(this.#run);
    } catch (error) {
      if (error.name !== "AbortError") trouble(`The list could not be loaded: ${error.message}`);
    } finally {
      if (this.#asking === asking) this.#asking = null;
    }
  }

  #count() {
    const count = this.#total.toLocaleString("en");
    byId("found").textContent = this.#text
      ? `${count} found`
      : `${count} recording${this.#total === 1 ? "" : "s"}`;
    if (this.#total) return;
    const words = this.#text
      ? ["Nothing matches. Try fewer words."]
      : ["No recordings yet. ", make("code", {}, "fadae run"), " fills the workspace."];
    this.list.replaceChildren(make("li", { class: "none" }, ...words));
  }

  #row({ id, title, creator, item, seconds, held_out_by: heldOutBy }) {
    const link = make(
      "a",
      { href: toAddress({ view: "listen", recording: id, search: this.#text }), "data-id": id },
      make("span", { class: "title", dir: "auto" }, title),
      make("span", { class: "long" }, clock(seconds)),
      make("span", { class: "under" },
        make("span", { class: "by", dir: "auto" }, [creator, item].filter(Boolean).join(" · ")),
        make("span", { class: "badge", hidden: !heldOutBy.includes(this.#run), "data-runs": JSON.stringify(heldOutBy) }, "held out")),
    );
    if (id === this.#current) link.setAttribute("aria-current", "true");
    link.querySelector(".badge").title = this.#meaning;
    return make("li", {}, link);
  }

  /** Mark the recording that is on the stage. */
  mark(id) {
    this.#current = id;
    for (const link of this.list.querySelectorAll("a")) {
      const here = link.dataset.id === id;
      if (here) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
      if (here) link.scrollIntoView({ block: "nearest" });
    }
  }

  /** Mark the recordings that a run held out; null marks none. */
  badge(run) {
    this.#run = run;
    for (const mark of this.list.querySelectorAll(".badge")) {
      mark.hidden = !JSON.parse(mark.dataset.runs).includes(run);
      mark.title = this.#meaning;
    }
    const shown = this.list.querySelector(".badge:not([hidden])");
    byId("badge-note").textContent = shown ? `held out by ${run}` : "";
    byId("badge-note").title = this.#meaning;
  }

  get #meaning() {
    return `held out: ${this.#run} did not learn from these`;
  }

  /** Put the focus on the recording that is on the stage, else on the first. */
  focus() {
    (this.list.querySelector("a[aria-current]") ?? this.list.querySelector("a"))?.focus();
  }

  /** The recording `steps` further down the list, or null. */
  neighbour(id, steps) {
    const at = this.#shown.findIndex((recording) => recording.id === id);
    const next = this.#shown[at < 0 ? 0 : at + steps];
    return next?.id ?? null;
  }
}
