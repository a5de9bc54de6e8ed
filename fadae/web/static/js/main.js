// The listening room: puts its parts together and keeps page, player and address of one mind.

import { hideAlike, showAlike } from "./alike.js";
import * as api from "./api.js";
import { showComparisons } from "./comparing.js";
import { announce, byId, lasting, make, trouble, webAddress } from "./dom.js";
import { listenForKeys } from "./keys.js";
import { CorpusMap } from "./map.js";
import { Player } from "./player.js";
import { showRun } from "./run.js";
import { showRuns } from "./runs.js";
import { Selection } from "./selection.js";
import { Shelf } from "./shelf.js";
import { Stage } from "./stage.js";
import { Store, fromAddress, toAddress } from "./store.js";
import { Studio } from "./studio.js";
import { Transport } from "./transport.js";

const store = new Store({});
const player = new Player();
const recordings = new Map(); // id -> all about it
let about;
let selection;
let shelf;
let stage;
let studio;
let map = null;
let transport;
let recording = null; // on the stage
let tape = null; // of the stage

start().catch((error) => trouble(`The listening room did not open: ${error.message}`));

async function start() {
  about = await api.workspace();
  byId("workspace").textContent = about.transform
    ? `${about.name} · ${about.recordings.toLocaleString("en")} recordings, ${lasting(about.seconds)} · ${about.transform.name} at ${about.transform.rate_hz.toLocaleString("en")} Hz`
    : about.name;
  selection = new Selection(store, about.transform);
  shelf = new Shelf((search) => store.set({ search: search || null }));
  transport = new Transport(player, (source) => store.set({ source }));
  const runs = about.runs.filter(({ trained, reconstructed }) => trained || reconstructed);
  transport.offer([
    { name: "original", label: "Original" },
    { name: "transform", label: "Transform" },
    ...runs.map(({ name }) => ({ name, label: name })),
  ]);
  studio = new Studio(about, {
    remember: (settings) => store.set(settings),
    seek: (seconds) => player.seek(seconds),
    play: (made) => {
      if (store.state.view !== "generate") return;
      load(made, "generated");
      player.play();
    },
  });
  if (about.transform) {
    stage = new Stage({ ...about, runs }, { seek, choose, zoom: (zoom) => store.set({ zoom }) });
  } else {
    byId("stage-empty").replaceChildren(
      make("h1", {}, "Nothing to hear yet"),
      make("p", {}, "This workspace holds no features yet. Fill it with ", make("code", {}, "fadae run"), ", then load this page again."),
    );
  }
  if (about.alike) {
    byId("more").hidden = document.querySelector(".top nav [data-view=map]").hidden = false;
    map = new CorpusMap(about.transform.rate_hz, {
      play: (heard) => {
        if (store.state.view !== "map") return;
        load(heard, "original");
        player.play();
      },
    });
  }
  shelf.badge(shownRun("original"));
  listen();
  store.listen(changed);
  window.addEventListener("hashchange", () => take(location.hash));
  take(location.hash);
  requestAnimationFrame(tick);
}

// --- the address ---

let written = null;

/** Take over what an address says. */
function take(hash) {
  if (hash === written) return;
  const state = fromAddress(hash);
  moved = state.at;
  store.set(state);
}

let moved = null;

/** Write the state into the address bar; another recording or view is a step back can undo. */
function write(step) {
  written = toAddress({ ...store.state, at: moved });
  if (location.hash === written) return;
  if (step) history.pushState(null, "", written);
  else history.replaceState(null, "", written);
}

// --- the state ---

function changed(state, names) {
  document.body.dataset.view = state.view;
  if (names.has("view")) showView(state);
  if (state.view === "run" && (names.has("view") || names.has("run"))) {
    showRun(about, state.run);
    title();
  }
  if (names.has("search")) shelf.search(state.search ?? "");
  if (state.view === "listen" && (names.has("recording") || (names.has("view") && !recording))) open(state);
  else if (recording && state.view === "listen") {
    if (names.has("source")) hearSource(state);
    if (["from", "to", "low", "high"].some((name) => names.has(name))) showRange(state);
    if (names.has("at") && state.at != null) seek(state.at);
  }
  if (names.has("zoom") && state.zoom) stage?.setZoom(state.zoom);
  if (state.view !== "generate" || ["run", "method", "seed", "seconds"].some((name) => names.has(name))) {
    write(names.has("view") || names.has("recording") || (state.view === "run" && names.has("run")));
  }
}

function showView(state) {
  for (const section of document.querySelectorAll("main > section")) {
    section.hidden = section.dataset.of !== state.view;
  }
  for (const link of document.querySelectorAll(".top nav a")) {
    if (link.dataset.view === (state.view === "run" ? "runs" : state.view)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (state.view === "runs") showRuns(about);
  if (state.view === "map") {
    if (map) map.show();
    else byId("map-lead").replaceChildren("Not known yet: ", make("code", {}, "fadae similar"), " looks at all recordings.");
    for (const id of ["map", "map-hear"]) byId(id).hidden = !map;
    load(map?.tape ?? null, "original");
  }
  if (state.view === "compare") showComparisons(about);
  if (state.view === "generate") {
    studio.restore(state);
    load(studio.tape ?? null, "generated");
  } else if (state.view === "listen") {
    if (recording) load(tape, state.source ?? "original");
    stage?.draw();
  }
  title();
}

function title() {
  const { view, run } = store.state;
  const words = { listen: recording?.title, generate: "Generate", map: "Map", runs: "Runs", run: `Run ${run}`, compare: "Compare" }[view];
  document.title = words ? `${words} · fadae` : "fadae, the listening room";
}

/** Put another tape into the player. */
function load(next, source, at = 0) {
  if (player.tape !== next) player.load(next, source, at);
  transport.load(next);
}

// --- a recording on the stage ---

/** Put on the stage what an address names; without a name what is there stays, else the first. */
async function open(state) {
  moved = state.at;
  document.body.dataset.pane = state.recording ? "stage" : "shelf";
  if (!stage) return;
  const id = state.recording ?? recording?.id ?? (await shelf.first());
  if (!id) return;
  if (id === recording?.id) {
    hearSource(state);
    showRange(state);
    return;
  }
  try {
    if (!recordings.has(id)) recordings.set(id, await api.json("recording", { recording: id }));
  } catch (error) {
    trouble(error.message);
    document.body.dataset.pane = "shelf";
    return;
  }
  // Another one was chosen meanwhile, or another view: that asks again when it is left.
  if (store.state.recording !== state.recording || store.state.view !== "listen") return;
  const playing = player.state !== "paused";
  recording = recordings.get(id);
  tape = makeTape(recording);
  selection.open(recording);
  hideAlike();
  const source = known(state.source);
  const current = store.state;
  if (current.zoom) stage.setZoom(current.zoom);
  stage.show(recording, shownRun(source));
  head(recording);
  shelf.mark(recording.id);
  load(tape, source, current.at ?? current.from ?? 0);
  hearSource(current);
  showRange(current);
  stage.lookAround(player.position);
  title();
  write(false);
  byId("stage").scrollTop = 0;
  if (playing && current.view === "listen") player.play();
}

function makeTape({ id, title: name, seconds, rate_hz: rateHz }) {
  const fetch = (source, start, stop, band) =>
    api.samples("audio", { recording: id, source, start, stop, low_hz: band?.low, high_hz: band?.high });
  return { key: id, name, seconds, rateHz, fetch };
}

function known(source) {
  return transport.sources.some(({ name }) => name === source) ? source : "original";
}

/** The run to show: the one heard, else the first with reconstructions, else the first. */
function shownRun(source) {
  const runs = transport.sources.slice(2).map(({ name }) => name);
  if (runs.includes(source)) return source;
  return about.runs.find(({ reconstructed }) => reconstructed)?.name ?? runs[0] ?? null;
}

function head({ title: name, creator, item, file, licence, url, came_from: cameFrom, seconds }) {
  byId("title").textContent = name;
  const parts = [creator, item, file === name ? null : file, lasting(seconds)].filter(Boolean);
  const place = byId("about");
  place.replaceChildren(parts.join(" · "));
  for (const [text, target] of [["licence", licence], ["source", url]]) {
    const href = webAddress(target);
    if (href) place.append(" · ", make("a", { href, rel: "noopener noreferrer external", target: "_blank" }, text));
    else if (text === "licence" && target) place.append(` · ${target}`);
  }
  if (cameFrom) place.append(` · ${cameFrom}`);
}

function hearSource(state) {
  const source = known(state.source);
  player.select(source);
  transport.choose(source);
  stage.hear(source);
  shelf.badge(stage.run);
  selection.offer(source);
}

function seek(seconds) {
  player.seek(seconds);
  moved = player.position;
  write(false);
}

// --- the selection ---

function choose(range, final) {
  if (final) {
    selection.choose(range);
    hearOnly(true);
  } else {
    selection.preview(range);
    stage.choose(range);
  }
}

function showRange(state) {
  const { range } = selection;
  stage.choose(range);
  selection.show(known(state.source));
  hearOnly(range != null);
}

function hearOnly(wanted) {
  const range = wanted ? selection.range : null;
  byId("only").setAttribute("aria-pressed", String(range != null));
  if (player.tape === tape) player.hear(range);
}

// --- what people do ---

function listen() {
  byId("selection").addEventListener("submit", (event) => {
    event.preventDefault();
    selection.read(true);
    hearOnly(true);
    if (player.state === "paused") player.play();
  });
  byId("only").addEventListener("click", () => hearOnly(byId("only").getAttribute("aria-pressed") !== "true"));
  byId("share").addEventListener("click", share);
  byId("more").addEventListener("click", () => {
    const asked = recording;
    showAlike(asked, selection.range ?? { from: 0, to: asked.seconds }, () => asked === recording);
  });
  // Where only one of the two fits, the focus goes with the view.
  byId("to-shelf").addEventListener("click", () => {
    document.body.dataset.pane = "shelf";
    shelf.focus();
  });
  byId("recordings").addEventListener("click", (event) => {
    if (!event.target.closest("a")) return;
    document.body.dataset.pane = "stage";
    if (!shelf.list.checkVisibility()) byId("stage").focus({ preventScroll: true });
  });
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // addresses name views
    document.body.dataset.pane = "stage";
    (store.state.view === "listen" ? byId("stage") : document.querySelector("main > section:not([hidden])")).focus();
  });
  byId("help-open").addEventListener("click", () => byId("help").showModal());
  player.addEventListener("trouble", ({ detail }) => trouble(`The sound stopped: ${detail}`));
  player.addEventListener("state", () => {
    if (player.state === "paused" && player.tape === tape && tape) {
      moved = player.position;
      write(false);
    }
  });
  const go = (steps) => {
    const next = shelf.neighbour(recording?.id, steps);
    if (next) store.set({ recording: next, at: null, from: null, to: null, low: null, high: null });
  };
  const step = (event, sign) => player.tape && skip(sign * (event.shiftKey ? 10 : 1));
  listenForKeys({
    " ": () => player.tape && transport.toggle(),
    ArrowLeft: (event) => step(event, -1),
    ArrowRight: (event) => step(event, 1),
    Home: () => player.tape && skip(-Infinity),
    End: () => player.tape && skip(Infinity),
    digit: (event) => {
      const source = transport.sources[Number(event.key) - 1];
      if (source && store.state.view === "listen") store.set({ source: source.name });
    },
    "[": () => selection.mark("from", player.position),
    "]": () => selection.mark("to", player.position),
    s: () => byId("only").click(),
    Escape: () => selection.clear(),
    "+": () => stage?.zoomBy(-1),
    "=": () => stage?.zoomBy(-1),
    "-": () => stage?.zoomBy(1),
    j: () => go(1),
    k: () => go(-1),
    "/": () => { document.body.dataset.pane = "shelf"; byId("search").focus(); byId("search").select(); },
    "?": () => byId("help").showModal(),
  });
}

function skip(seconds) {
  const to = Math.max(0, player.position + seconds);
  if (player.tape === tape) seek(to);
  else player.seek(to);
}

async function share() {
  moved = player.position;
  if (!store.state.recording) store.set({ recording: recording.id });
  write(false);
  try {
    await navigator.clipboard.writeText(location.href);
    announce("Link copied");
    byId("share").textContent = "Copied";
    setTimeout(() => { byId("share").textContent = "Copy link"; }, 1500);
  } catch {
    trouble("The browser keeps the clipboard closed to this page. Copy the link from the address bar.");
  }
}

// --- the play head ---

function tick() {
  requestAnimationFrame(tick);
  if (!player.tape) return;
  const seconds = player.position;
  transport.place(seconds);
  if (player.tape === tape && store.state.view === "listen") {
    stage.place(seconds, player.state !== "paused" && !selection.previewing);
  } else if (store.state.view === "generate") studio.place(seconds);
}
