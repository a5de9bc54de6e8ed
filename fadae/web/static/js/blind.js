// A blind test: ABX or MUSHRA, a trial at a time. The page knows marks, never names.

import { json, samples } from "./api.js";
import { Deck } from "./deck.js";
import { announce, byId, make, table, trouble } from "./dom.js";

const WORDS = ["Bad", "Poor", "Fair", "Good", "Excellent"]; // of the scale, 20 points each

const stage = byId("stage");
const deck = new Deck(() => mark());
let trial = null; // { marks, kind, trial, trials }
let heard = new Set();
let answers = {}; // by mark
let ready = () => false;
let keys = {};

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("test").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if ([" ", "Enter"].includes(event.key) && event.target.closest("button, a, .scroll")) return;
  const action = keys[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action();
});

json("trial").then(show).catch(failed);

function failed(error) {
  trouble(`The test does not go on: ${error.message}`);
}

async function show(state) {
  deck.stop();
  if (state.over) return finish(state);
  keys = {}; // until this trial's sounds are here nothing can be played or answered
  stage.replaceChildren();
  const sounds = await Promise.all(state.marks.map((name) => samples("clip", { mark: name })));
  trial = state;
  [heard, answers] = [new Set(), {}];
  deck.load(state.marks.map((name, i) => [name, sounds[i]]), state.rate_hz);
  (state.kind === "abx" ? showAbx : showMushra)(state);
  stage.append(nextBar());
  byId("progress").textContent = `Trial ${state.trial} of ${state.trials}`;
  mark();
  byId("heading").focus();
  return undefined;
}

// --- what both have ---

function play(name) {
  if (deck.heard === name) {
    deck.stop();
    return;
  }
  heard.add(name);
  deck.hear(name).catch(failed);
}

/** Return the button that plays a mark. */
function player(name, label, key) {
  return make("button", { type: "button", "data-mark": name, "aria-pressed": "false", "aria-keyshortcuts": key, onclick: () => play(name) }, label);
}

function nextBar() {
  const last = trial.trial === trial.trials;
  const button = make("button", { type: "button", class: "primary", id: "next", onclick: next, disabled: true }, last ? "Finish" : "Next trial");
  return make("div", { class: "next" }, button, make("p", { class: "quiet small", id: "missing" }));
}

async function next() {
  if (!ready()) return;
  deck.stop();
  const body = JSON.stringify({ trial: trial.trial, answers, heard: [...heard] });
  const before = ready;
  ready = () => false; // it is sent once
  mark();
  try {
    const response = await fetch("/api/answer", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    const state = await response.json();
    if (!response.ok) throw new Error(state.error);
    await show(state);
  } catch (error) {
    ready = before;
    failed(error);
    mark();
  }
}

/** Say on the page what is heard, what was, and what is missing. */
function mark() {
  for (const button of stage.querySelectorAll("button[data-mark]")) {
    const { mark: name } = button.dataset;
    button.setAttribute("aria-pressed", String(deck.heard === name));
    button.classList.toggle("heard", heard.has(name));
    const slider = button.parentElement.querySelector("input");
    if (slider) slider.disabled = !heard.has(name);
  }
  const stop = stage.querySelector(".stop");
  if (stop) stop.disabled = deck.heard == null;
  if (!byId("next")) return;
  byId("next").disabled = !ready();
  const unheard = trial.marks.filter((name) => !heard.has(name)).length;
  byId("missing").textContent = unheard ? `${unheard} still to be played` : ready() ? "" : missing();
}

function missing() {
  return trial.kind === "abx" ? "Say whether X is A or B" : "Rate every sound";
}

const allHeard = () => trial.marks.every((name) => heard.has(name));

function stopButton() {
  return make("button", { type: "button", class: "stop", "aria-keyshortcuts": "Space", onclick: () => deck.stop() }, "Stop");
}

/** Space stops what plays, or plays again what was heard last. */
function toggle() {
  if (deck.heard != null) deck.stop();
  else play([...heard].at(-1) ?? trial.marks[0]);
}

// --- ABX ---

function showAbx({ marks: [a, b, x] }) {
  byId("heading").textContent = "Is X the same as A, or as B?";
  const say = (choice) => {
    answers = { [x]: choice };
    for (const button of stage.querySelectorAll("[data-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.choice === choice));
    }
    mark();
  };
  const answer = (choice, label, key) => make("button", { type: "button", "data-choice": choice, "aria-pressed": "false", "aria-keyshortcuts": key, onclick: () => say(choice) }, label);
  stage.replaceChildren(
    make("p", { class: "quiet lead" }, "X is one of the two. All three run in step: switch as often as you like. Keys: ", ...kbd("a", "b", "x"), " play, ", ...kbd("Space"), " stops, ", ...kbd("1", "2"), " answer, ", ...kbd("Enter"), " goes on."),
    make("div", { class: "signals" }, player(a, "A", "a"), player(b, "B", "b"), player(x, "X", "x"), stopButton()),
    make("div", { class: "answers", role: "group", "aria-label": "Your answer" }, answer(a, "X is A", "1"), answer(b, "X is B", "2")),
  );
  ready = () => allHeard() && x in answers;
  keys = { a: () => play(a), b: () => play(b), x: () => play(x), 1: () => say(a), 2: () => say(b), " ": toggle, enter: next };
}

function kbd(...names) {
  return names.flatMap((name, i) => [...(i ? [" "] : []), make("kbd", {}, name)]);
}

// --- MUSHRA ---

function showMushra({ marks: [reference, ...marks] }) {
  byId("heading").textContent = "How near is each sound to the reference?";
  const rows = marks.map((name, i) => row(name, i + 1));
  stage.replaceChildren(
    make("p", { class: "quiet lead" }, "One of them is the reference itself: give it 100. Play all, rate all. Keys: ", ...kbd("r"), " plays the reference, ", ...kbd("1", "…", "9"), " the sounds, ", ...kbd("Space"), " stops, arrows move a slider, ", ...kbd("Enter"), " goes on."),
    make("div", { class: "signals" }, player(reference, "Reference", "r"), stopButton()),
    make("ol", { class: "rated" }, ...rows),
  );
  ready = () => allHeard() && marks.every((name) => name in answers);
  keys = { r: () => play(reference), " ": toggle, enter: next };
  marks.slice(0, 9).forEach((name, i) => {
    keys[i + 1] = () => {
      if (deck.heard !== name) play(name);
      mark();
      byId(`rating-${i + 1}`).focus();
    };
  });
}

function row(name, number) {
  const told = make("output", { for: `rating-${number}`, class: "quiet" }, "not rated");
  const slider = make("input", {
    type: "range", id: `rating-${number}`, min: "0", max: "100", step: "1", value: "0", disabled: true,
    "aria-label": `Rating of sound ${number}`, "aria-valuetext": "not rated",
  });
  slider.addEventListener("input", () => {
    const rating = slider.valueAsNumber;
    answers = { ...answers, [name]: rating };
    told.value = `${rating} ${word(rating)}`;
    slider.setAttribute("aria-valuetext", told.value);
    mark();
  });
  const words = make("div", { class: "words", "aria-hidden": "true" }, ...WORDS.map((text) => make("span", {}, text)));
  return make("li", {}, player(name, `Sound ${number}`, String(number)), slider, told, words);
}

function word(rating) {
  return WORDS[Math.min(4, Math.floor(rating / 20))].toLowerCase();
}

// --- the end ---

function finish({ kind, results }) {
  keys = {};
  byId("heading").textContent = "The test is over";
  byId("progress").textContent = `${results.trials} of ${results.of} trials`;
  const file = make("p", { class: "quiet" }, "Each trial is a row of ", make("code", {}, results.file), ". You may close this page.");
  stage.replaceChildren(...(kind === "abx" ? abxResults(results) : mushraResults(results)), file);
  byId("heading").focus();
  announce("The test is over");
}

function abxResults({ correct, trials, p, sources }) {
  return [
    make("p", { class: "result" }, `${correct} of ${trials} right, p = ${p < 0.0001 ? p.toExponential(1) : p.toFixed(4)}`),
    make("p", {}, `${sources.join(" and ")}. The p is how likely so many right answers, or more, are by guessing: binomial, exact, one-sided.`),
  ];
}

function mushraResults({ ratings, post_screening: rule }) {
  const rows = Object.entries(ratings)
    .sort(([, one], [, other]) => other.mean - one.mean)
    .map(([name, { mean, low, high }]) => [name, mean.toFixed(1), `${low.toFixed(1)} – ${high.toFixed(1)}`]);
  return [
    table("Ratings", ["sound", "mean", "95 % interval"], rows),
    make("p", {}, `${rule[0].toUpperCase()}${rule.slice(1)}.`),
  ];
}
