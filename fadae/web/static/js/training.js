// Training curves of the runs: drawn as SVG, told as a table.

import { json } from "./api.js";
import { byId, decibels, make } from "./dom.js";

const NAMES = {
  train_loss: "training",
  holdout_loss: "held out",
  holdout_nmse_db: "held out",
  pca_nmse_db: "PCA, same code size",
};
const CHARTS = [
  ["Loss", ["train_loss", "holdout_loss"]],
  ["NMSE (dB)", ["holdout_nmse_db", "pca_nmse_db"]],
];
const SIDES = [["held_out", "Held-out recordings"], ["trained", "Recordings trained on"]];
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [420, 190, 52, 22];

/** Fill the page with all runs. */
export async function showTraining(runs) {
  const place = byId("runs");
  if (!runs.length) {
    place.replaceChildren(
      make("p", { class: "empty" }, "No runs yet. ", make("code", {}, "fadae train"), " starts one."),
    );
    return;
  }
  const cards = runs.map((run) => {
    const card = make("article", { class: "run", "aria-busy": "true" }, make("header", {}, make("h2", {}, run.name)));
    json("curves", { run: run.name }).then(
      (answer) => fill(card, run, answer),
      (error) => card.append(make("p", { class: "quiet" }, error.message)),
    ).finally(() => card.removeAttribute("aria-busy"));
    return card;
  });
  place.replaceChildren(...cards);
}

function fill(card, run, { config, curves, means, remark }) {
  const state = run.trained ? (run.reconstructed ? "trained, reconstructed" : "trained") : "still training";
  const about = [state, run.code].filter(Boolean).join(" · ");
  card.querySelector("header").append(make("span", { class: "quiet small" }, about));
  const charts = CHARTS.map(([title, names]) => chart(title, names.filter((name) => curves[name]), curves));
  card.append(make("div", { class: "charts" }, ...charts.filter(Boolean)));
  const told = SIDES.flatMap(([side, words]) => sideWords(words, means[`${side}_nmse_db`], means[`${side}_audio_snr_db`]));
  if (told.length) card.append(make("ul", { class: "means" }, ...told.map((text) => make("li", {}, text))));
  if (remark) card.append(make("p", { class: "remark" }, remark));
  if (!Object.keys(curves).length) card.append(make("p", { class: "quiet" }, "No finished steps yet."));
  card.append(make("details", {}, make("summary", {}, "Settings"), settings(config)));
}

function sideWords(words, nmse, snr) {
  return nmse == null ? [] : [`${words}: NMSE ${decibels(nmse)}${snr == null ? "" : `, SNR ${decibels(snr)}`}`];
}

function settings(config, prefix = "") {
  const rows = [];
  const walk = (value, name) => {
    if (value && typeof value === "object" && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) walk(inner, name ? `${name}.${key}` : key);
    } else if (JSON.stringify(value)?.length < 120) {
      rows.push(make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, setting(value))));
    }
  };
  walk(config, prefix);
  return make("table", {}, make("tbody", {}, ...rows));
}

function setting(value) {
  if (value == null || value === "") return "none";
  return Array.isArray(value) ? value.join(", ") || "none" : String(value);
}

function chart(title, names, curves) {
  if (!names.length) return null;
  const key = make("ul", { class: "key" }, ...names.map((name) =>
    make("li", { class: name }, make("span", {}, `${NAMES[name]} ${number(curves[name].at(-1)[1])}`))));
  const points = names.flatMap((name) => curves[name]);
  if (points.every(([step]) => step === points[0][0])) { // one moment makes no curve
    return make("section", { class: "chart" }, make("h3", {}, title), key);
  }
  const [steps, values] = [points.map(([step]) => step), points.map(([, value]) => value)];
  const x = scale(Math.min(...steps), Math.max(...steps), LEFT, WIDTH - 6);
  const ticks = roundTicks(Math.min(...values), Math.max(...values));
  const y = scale(ticks[0], ticks.at(-1), HEIGHT - BOTTOM, 8);
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words(title, names, curves) });
  for (const tick of ticks) {
    svg.append(
      make("line", { x1: LEFT, x2: WIDTH - 6, y1: y(tick), y2: y(tick) }),
      make("text", { x: LEFT - 7, y: y(tick) + 4, "text-anchor": "end" }, number(tick)),
    );
  }
  const last = Math.max(...steps);
  svg.append(
    make("text", { x: LEFT, y: HEIGHT - 4 }, `step ${Math.min(...steps).toLocaleString("en")}`),
    make("text", { x: WIDTH - 6, y: HEIGHT - 4, "text-anchor": "end" }, last.toLocaleString("en")),
  );
  for (const name of names) {
    const drawn = curves[name].length > 1 ? curves[name] : [[Math.min(...steps), curves[name][0][1]], [last, curves[name][0][1]]];
    const path = drawn.map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`);
    svg.append(make("path", { class: name, d: path.join("") }));
  }
  return make("section", { class: "chart" }, make("h3", {}, title), svg, key);
}

function words(title, names, curves) {
  const parts = names.map((name) => {
    const [first, last] = [curves[name][0][1], curves[name].at(-1)[1]];
    return `${NAMES[name]} from ${number(first)} to ${number(last)}`;
  });
  return `${title}: ${parts.join("; ")}`;
}

function scale(low, high, from, to) {
  return (value) => from + ((value - low) / (high - low || 1)) * (to - from);
}

/** Return four to six round numbers that span the values. */
function roundTicks(low, high) {
  const spread = high - low || Math.abs(high) * 0.1 || 1;
  const rough = 10 ** Math.floor(Math.log10(spread / 4));
  const step = [1, 2, 5, 10].map((m) => m * rough).find((size) => spread / size <= 5);
  const ticks = [];
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  for (let i = first; i <= Math.max(last, first + 1); i += 1) ticks.push(i * step);
  return ticks;
}

function number(value) {
  const size = Math.abs(value);
  const text = size && size < 0.001 ? size.toExponential(1) : Number(size.toPrecision(3)).toString();
  return value < 0 ? `−${text}` : text;
}
