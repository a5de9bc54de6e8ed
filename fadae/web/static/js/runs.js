// All runs: a line each, and their curves on common axes.

import { json } from "./api.js";
import { chart, stepRange } from "./charts.js";
import { byId, decibels, make, table } from "./dom.js";
import { toAddress } from "./store.js";

const CHARTS = [
  ["Held-out NMSE (dB)", "holdout_nmse_db"],
  ["Held-out loss", "holdout_loss"],
  ["Training loss", "train_loss"],
];
const MOST_DRAWN = 8; // as many as there are colours
const DRAWN_AT_FIRST = 6;

const HEADS = ["run", "model", "bytes a row", "kbps", "steps", "held out", "better than PCA by"];

/** Fill the page with all runs. */
export async function showRuns({ runs }) {
  const place = byId("runs");
  if (!runs.length) {
    place.replaceChildren(
      make("p", { class: "empty" }, "No runs yet. ", make("code", {}, "fadae train"), " starts one."),
    );
    return;
  }
  const rows = runs.map((run) => [
    make("a", { href: toAddress({ view: "run", run: run.name }) }, run.name),
    run.trained ? run.model ?? "–" : "still training",
    whole(run.bytes_a_row),
    run.kbps?.toFixed(1) ?? "–",
    whole(run.steps),
    level(run.holdout_nmse_db),
    level(run.pca_nmse_db == null || run.holdout_nmse_db == null ? null : run.pca_nmse_db - run.holdout_nmse_db),
  ]);
  const card = make("article", { class: "run" }, make("h2", {}, "Side by side"), table("Runs", HEADS, rows));
  place.replaceChildren(card, overlay(runs));
}

function whole(value) {
  return value == null ? "–" : Math.round(value).toLocaleString("en");
}

function level(value) {
  return value == null ? "–" : decibels(value);
}

/** Return the card with the chosen runs' curves in common charts. */
function overlay(runs) {
  const charts = make("div", { class: "charts" });
  const note = make("p", { class: "quiet small", role: "status" });
  const boxes = runs.map(({ name }, at) =>
    make("input", { type: "checkbox", value: name, checked: at < DRAWN_AT_FIRST, onchange: () => draw() }));
  const draw = async () => {
    const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
    for (const box of boxes) box.disabled = !box.checked && chosen.length >= MOST_DRAWN;
    const answers = await Promise.all(chosen.map((run) => json("curves", { run }).catch(() => ({ run, curves: {} }))));
    if (chosen.join("\n") !== boxes.filter((box) => box.checked).map((box) => box.value).join("\n")) return;
    const series = (name) => answers.map(({ run, curves }) =>
      ({ label: run, mark: `series-${chosen.indexOf(run)}`, points: curves[name] }));
    const all = CHARTS.flatMap(([, name]) => series(name)).filter(({ points }) => points?.length);
    const steps = all.length ? stepRange(all) : null;
    charts.replaceChildren(...CHARTS.map(([title, name]) => chart(title, series(name), steps)).filter(Boolean));
    const silent = answers.filter(({ curves }) => !Object.keys(curves).length).map(({ run }) => run);
    note.textContent = silent.length ? `No finished steps yet: ${silent.join(", ")}.` : "";
  };
  draw();
  return make("article", { class: "run" },
    make("h2", {}, "Curves on common axes"),
    make("fieldset", { class: "choices" }, make("legend", { class: "hidden" }, "Runs that are drawn"),
      ...boxes.map((box) => make("label", {}, box, make("span", {}, box.value)))),
    charts, note);
}
