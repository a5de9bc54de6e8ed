// Comparisons of codes: a plot of rate and distortion, and the same as a table.

import { address, json } from "./api.js";
import { byId, make, table } from "./dom.js";

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
    const waiting = make("article", { class: "run compared", "aria-busy": "true" }, make("header", {}, make("h2", {}, name)));
    json("comparison", { name }).then(
      (answer) => waiting.replaceWith(comparisonCard(name, answer)),
      (error) => waiting.append(make("p", { class: "quiet" }, error.message)),
    ).finally(() => waiting.removeAttribute("aria-busy"));
    return waiting;
  });
  place.replaceChildren(...cards);
}

/** Return the card of a comparison, as the server told it. */
export function comparisonCard(name, { heads, rows, explained, recordings, left_out: leftOut }) {
  const source = address("comparison", { name, as: "picture" });
  const card = make("article", { class: "run compared" },
    make("header", {}, make("h2", {}, `Comparison ${name}`)),
    make("img", { src: source, alt: "Each measure over kbit/s, a line a code; the table below has the same numbers" }),
    ...explained.map((text) => make("p", { class: "quiet small" }, text)),
    make("details", { open: true }, make("summary", {}, "Table"), table(`Comparison ${name}`, heads, rows)),
    make("details", {}, make("summary", {}, "Recordings"), make("ul", {}, ...recordings.map((one) => make("li", {}, words(one))))),
  );
  if (leftOut.length) {
    const lines = leftOut.map(({ id, reason }) => make("li", {}, `${id}: ${reason}`));
    card.append(make("details", {}, make("summary", {}, `Left out (${leftOut.length})`), make("ul", {}, ...lines)));
  }
  return card;
}

function words({ title, id, seconds, trained_on_by: trainedOn }) {
  const role = trainedOn.length ? `trained on by ${trainedOn.join(", ")}` : "held out";
  return `${title || id}, ${seconds.toFixed(0)} s, ${role}`;
}
