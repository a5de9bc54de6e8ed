// Line charts as SVG: one or many series on common axes, told in words for who cannot see them.

import { make } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [420, 190, 52, 22];

/**
 * Return a chart of series [{label, mark, points: [[step, value]]}], or null where none has a point.
 * `mark` is a class with a colour; `steps`, [first, last], is the axis that several charts share.
 */
export function chart(title, series, steps = null) {
  const drawn = series.filter(({ points }) => points?.length);
  if (!drawn.length) return null;
  const key = make("ul", { class: "key" }, ...drawn.map(({ label, mark, points }) =>
    make("li", { class: mark }, make("span", {}, `${label} ${number(points.at(-1)[1])}`))));
  const [first, last] = steps ?? stepRange(drawn);
  if (first === last) { // one moment makes no curve
    return make("section", { class: "chart" }, make("h3", {}, title), key);
  }
  const values = drawn.flatMap(({ points }) => points.map(([, value]) => value));
  const x = scale(first, last, LEFT, WIDTH - 6);
  const ticks = roundTicks(Math.min(...values), Math.max(...values));
  const y = scale(ticks[0], ticks.at(-1), HEIGHT - BOTTOM, 8);
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words(title, drawn) });
  for (const tick of ticks) {
    svg.append(
      make("line", { x1: LEFT, x2: WIDTH - 6, y1: y(tick), y2: y(tick) }),
      make("text", { x: LEFT - 7, y: y(tick) + 4, "text-anchor": "end" }, number(tick)),
    );
  }
  svg.append(
    make("text", { x: LEFT, y: HEIGHT - 4 }, `step ${first.toLocaleString("en")}`),
    make("text", { x: WIDTH - 6, y: HEIGHT - 4, "text-anchor": "end" }, last.toLocaleString("en")),
  );
  for (const { mark, points } of drawn) {
    const line = points.length > 1 ? points : [[first, points[0][1]], [last, points[0][1]]];
    const path = line.map(([step, value], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`);
    svg.append(make("path", { class: mark, d: path.join("") }));
  }
  return make("section", { class: "chart" }, make("h3", {}, title), svg, key);
}

/** Return [first, last] step of all series. */
export function stepRange(series) {
  const steps = series.flatMap(({ points }) => [points[0][0], points.at(-1)[0]]);
  return [Math.min(...steps), Math.max(...steps)];
}

function words(title, series) {
  const parts = series.map(({ label, points }) => `${label} from ${number(points[0][1])} to ${number(points.at(-1)[1])}`);
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

/** Return a number in three digits, with a true minus. */
export function number(value) {
  const size = Math.abs(value);
  const text = size && size < 0.001 ? size.toExponential(1) : Number(size.toPrecision(3)).toString();
  return value < 0 ? `−${text}` : text;
}
