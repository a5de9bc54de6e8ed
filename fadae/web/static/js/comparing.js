// Comparisons of codes: a plot of rate and distortion, and the same as a table.

import { address, json } from "./api.js";
import { byId, make } from "./dom.js";

/** Fill the page with all comparisons. */
export async function showComparisons({ comparisons }) {
  const place = byId("comparisons");
  if (!comparisons.length) {
    place.replaceChildren(
      make("p", { class: "empty" }, "No comparison yet. ", make("code", {}, "fadae compare"), " makes one."),
    );
    return;
  }
  const cards = comparisons.map((name) => {
    const card = make("article", { class: "run compared", "aria-busy": "true" }, make("header", {}, make("h2", {}, name)));
    json("comparison", { name }).then(
      (answer) => fill(card, name, answer),
      (error) => card.append(make("p", { class: "quiet" }, error.message)),
    ).finally(() => card.removeAttribute("aria-busy"));
    return card;
  });
  place.replaceChildren(...cards);
}

function fill(card, name, { heads, rows, explained, recordings, left_out: leftOut }) {
  const source = address("comparison", { name, as: "picture" });
  card.append(
    make("img", { src: source, alt: "Each measure over kbit/s, a line a code; the table below has the same numbers" }),
    ...explained.map((text) => make("p", { class: "quiet small" }, text)),
    make("details", { open: true }, make("summary", {}, "Table"), make("div", { class: "scroll" }, table(heads, rows))),
    make("details", {}, make("summary", {}, "Recordings"), make("ul", {}, ...recordings.map((one) => make("li", {}, words(one))))),
  );
  if (leftOut.length) {
    const lines = leftOut.map(({ id, reason }) => make("li", {}, `${id}: ${reason}`));
    card.append(make("details", {}, make("summary", {}, `Left out (${leftOut.length})`), make("ul", {}, ...lines)));
  }
}

function words({ title, id, seconds, trained_on_by: trainedOn }) {
  const role = trainedOn.length ? `trained on by ${trainedOn.join(", ")}` : "held out";
  return `${title || id}, ${seconds.toFixed(0)} s, ${role}`;
}

function table(heads, rows) {
  return make(
    "table",
    {},
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows.map(([first, ...rest]) =>
      make("tr", {}, make("th", { scope: "row" }, first), ...rest.map((cell) => make("td", {}, cell))))),
  );
}
