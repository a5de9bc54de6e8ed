// What the page shows, as one value, and the address bar that says the same (deep links).

const TEXTS = ["recording", "source", "search", "run", "method", "first", "second"];
const NUMBERS = ["at", "from", "to", "low", "high", "zoom", "seed", "seconds"];
const VIEWS = ["listen", "generate", "map", "runs", "run", "compare"];
const EARLIER = { training: "runs" }; // names that links of earlier versions hold

/** Holds the page's state and tells listeners which parts of it have changed. */
export class Store {
  #listeners = [];

  constructor(initial) {
    this.state = { ...initial };
  }

  listen(callback) {
    this.#listeners.push(callback);
  }

  /** Take over the given parts; listeners get the names of those that really changed. */
  set(parts) {
    const changed = new Set();
    for (const [name, value] of Object.entries(parts)) {
      if (this.state[name] !== value) changed.add(name);
    }
    if (!changed.size) return;
    Object.assign(this.state, parts);
    for (const callback of this.#listeners) callback(this.state, changed);
  }
}

/** Read an address: unknown names and malformed numbers count for nothing. */
export function fromAddress(hash) {
  const [asked, query = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  const view = EARLIER[asked] ?? asked;
  const given = new URLSearchParams(query);
  const state = { view: VIEWS.includes(view) ? view : "listen" };
  for (const name of TEXTS) state[name] = given.get(name)?.slice(0, 1000) || null;
  for (const name of NUMBERS) {
    const text = given.get(name);
    const value = Number(text);
    state[name] = text && Number.isFinite(value) && value >= 0 ? value : null;
  }
  return state;
}

/** Return the address of a state. */
export function toAddress(state) {
  const given = new URLSearchParams();
  const shown = {
    listen: ["recording", "source", "at", "from", "to", "low", "high", "zoom", "search"],
    generate: ["run", "method", "seed", "seconds", "first", "second"],
    map: [],
    runs: [],
    run: ["run"],
    compare: [],
  }[state.view];
  for (const name of shown) {
    const value = state[name];
    if (value == null || value === "") continue;
    given.set(name, typeof value === "number" ? String(Math.round(value * 1000) / 1000) : value);
  }
  const query = given.toString();
  return `#${state.view}${query ? `?${query}` : ""}`;
}
