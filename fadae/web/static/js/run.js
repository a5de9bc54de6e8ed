// The page of one run: what it came to, its curves, the comparisons it is in, its settings.

import { json } from "./api.js";
import { chart } from "./charts.js";
import { comparisonCard } from "./comparing.js";
import { byId, decibels, make } from "./dom.js";
import { toAddress } from "./store.js";

const CHARTS = [
  ["Loss", [["train_loss", "training"], ["holdout_loss", "held out"]]],
  ["NMSE (dB)", [["holdout_nmse_db", "held out"], ["pca_nmse_db", "PCA, same code size"]]],
];
const SIDES = [["held_out", "Held-out recordings"], ["trained", "Recordings trained on"]];

/** Fill the page with a run. */
export async function showRun({ runs, comparisons }, name) {
  const place = byId("run");
  const run = runs.find((one) => one.name === name);
  byId("run-title").textContent = name ? `Run ${name}` : "Run";
  if (!run) {
    place.replaceChildren(make("p", { class: "empty" }, "There is no such run here."));
    return;
  }
  const card = make("article", { class: "run", "aria-busy": "true" }, facts(run), links(run));
  place.replaceChildren(card);
  try {
    fill(card, await json("curves", { run: name }));
  } catch (error) {
    card.append(make("p", { class: "quiet" }, error.message));
  } finally {
    card.removeAttribute("aria-busy");
  }
  for (const comparison of comparisons) {
    const answer = await json("comparison", { name: comparison }).catch(() => null);
    if (!place.contains(card)) return; // another run is shown by now
    if (answer?.runs.includes(name)) place.append(comparisonCard(comparison, answer));
  }
}

function facts(run) {
  const state = run.trained ? (run.reconstructed ? "trained, reconstructed" : "trained") : "still training";
  const told = [
    ["State", state],
    ["Model", run.model],
    ["Code", run.code],
    ["Steps", run.steps?.toLocaleString("en")],
    ["Held out", run.holdout_nmse_db == null ? null : `NMSE ${decibels(run.holdout_nmse_db)}`],
    ["PCA", run.pca_nmse_db == null ? null : `NMSE ${decibels(run.pca_nmse_db)}`],
    ["Model’s SHA-256", run.model_sha256],
  ].filter(([, value]) => value);
  return make("dl", { class: "facts" }, ...told.map(([term, value]) =>
    make("div", {}, make("dt", {}, term), make("dd", {}, value))));
}

function links({ name, trained, reconstructed }) {
  const found = [];
  if (trained || reconstructed) found.push(["Listen to it", { view: "listen", source: name }]);
  if (trained) found.push(["Generate with it", { view: "generate", run: name }]);
  return make("p", { class: "buttons" }, ...found.map(([text, state]) =>
    make("a", { class: "button", href: toAddress(state) }, text)));
}

function fill(card, { config, curves, means, remark }) {
  const charts = CHARTS.map(([title, lines]) =>
    chart(title, lines.map(([name, label]) => ({ label, mark: name, points: curves[name] }))));
  card.append(make("h2", {}, "Training"), make("div", { class: "charts" }, ...charts.filter(Boolean)));
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
