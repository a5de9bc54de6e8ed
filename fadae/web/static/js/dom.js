// Elements from names and texts. Outside texts only ever become text nodes, never markup.

export const byId = (id) => document.getElementById(id);

/** Return a new element: attributes by name (`on...` are listeners), then children or texts. */
export function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "g"].includes(tag);
  const element = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Return a table that scrolls sideways where it must, by the keyboard too. */
export function table(name, heads, rows) {
  const [head, body] = [
    make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...rows.map(([first, ...rest]) =>
      make("tr", {}, make("th", { scope: "row" }, first), ...rest.map((cell) => make("td", {}, cell))))),
  ];
  const region = { class: "scroll", role: "region", tabindex: "0", "aria-label": `${name}, a table` };
  return make("div", region, make("table", {}, head, body));
}

/** 83.25 -> "1:23" or, with tenths, "1:23.2"; an hour and more as "1:02:03". */
export function clock(seconds, tenths = false) {
  const whole = tenths ? Math.floor(seconds * 10 + 1e-6) / 10 : Math.round(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = (whole % 60).toFixed(tenths ? 1 : 0).padStart(tenths ? 4 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** 12345 s -> "3 h 26 min": how long a collection lasts. */
export function lasting(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(seconds < 36000 ? 1 : 0)} h`;
}

/** Frequencies as people write them: 440 Hz, 1.2 kHz. */
export function hertz(value) {
  return value < 1000 ? `${Math.round(value)} Hz` : `${(value / 1000).toFixed(value < 10000 ? 2 : 1)} kHz`;
}

/** Levels as people write them: −3.2 dB. */
export function decibels(value) {
  return `${value < 0 ? "−" : ""}${Math.abs(value).toFixed(1)} dB`;
}

/** Return an http(s) address, or null for anything else a hostile field may hold. */
export function webAddress(text) {
  try {
    const url = new URL(text);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

/** Tell a screen reader, once. */
export function announce(text) {
  byId("announcer").textContent = text;
}

let troubleTimer = 0;

/** Show what went wrong above everything, for a while. */
export function trouble(text) {
  const place = byId("trouble");
  place.textContent = text;
  place.hidden = !text;
  clearTimeout(troubleTimer);
  if (text) troubleTimer = setTimeout(() => trouble(""), 9000);
}
