// Pictures by tiles: asked for when seen, a few at a time, the newest wish first, and kept.

import { raster } from "./api.js";
import { colours, whenThemeChanges } from "./colours.js";

const AT_ONCE = 3;
const KEPT = 160;

const tiles = new Map(); // address -> { picture, canvas, failed }, least recently used first
const wishes = new Map(); // address -> { name, parameters, done }
let asked = 0;

whenThemeChanges(() => {
  for (const tile of tiles.values()) tile.canvas = null;
});

/** Return a tile that is here, or null: `done` is called when it has come or failed. */
export function tile(name, parameters, done) {
  const key = JSON.stringify([name, parameters]);
  const found = tiles.get(key);
  if (found) {
    tiles.delete(key);
    tiles.set(key, found);
    return found.picture || found.failed ? found : null;
  }
  wishes.delete(key); // wished again: it goes to the end, which is served first
  wishes.set(key, { name, parameters, done });
  serve();
  return null;
}

/** Forget what is wished but not yet asked for: another part is being looked at. */
export function forgetWishes() {
  wishes.clear();
}

function serve() {
  while (asked < AT_ONCE && wishes.size) {
    const [key, wish] = [...wishes].at(-1);
    wishes.delete(key);
    if (tiles.has(key)) continue;
    asked += 1;
    const entry = { picture: null, canvas: null, failed: "" };
    tiles.set(key, entry);
    if (tiles.size > KEPT) tiles.delete(tiles.keys().next().value);
    raster(wish.name, wish.parameters)
      .then(
        (picture) => { entry.picture = picture; },
        (error) => {
          entry.failed = error.message;
          setTimeout(() => tiles.delete(key), 5000); // worth another try later
        },
      )
      .finally(() => {
        asked -= 1;
        wish.done();
        serve();
      });
  }
}

/**
 * Return a tile's picture as a canvas, one pixel a column, the lowest row at the bottom and at most
 * `high` rows. Rows that share a pixel are reduced here: how a browser would do it changes with
 * the tile's width, and seams would show.
 */
export function painted(entry, kind, high) {
  if (entry.canvas?.wanted === high) return entry.canvas;
  if (kind === "wave") return (entry.canvas = wave(entry.picture, high));
  const { bytes, rows, columns } = entry.picture;
  const canvas = document.createElement("canvas");
  canvas.wanted = high;
  canvas.width = columns;
  canvas.height = Math.min(rows, high);
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const table = colours(kind);
  const reduce = kind === "signed" ? strongest : mean;
  for (let line = 0; line < canvas.height; line += 1) {
    const first = Math.floor((line * rows) / canvas.height);
    const last = Math.max(first + 1, Math.floor(((line + 1) * rows) / canvas.height));
    const target = (canvas.height - 1 - line) * columns;
    for (let column = 0; column < columns; column += 1) {
      pixels[target + column] = table[reduce(bytes, columns, first, last, column)];
    }
  }
  context.putImageData(image, 0, 0);
  entry.canvas = canvas;
  return canvas;
}

/** Return a waveform: from the lowest to the highest sample of each column, and its RMS on top. */
function wave({ bytes, columns }, high) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: columns, height: high, wanted: high });
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const y = (byte) => (1 - byte / 255) * high;
  for (const [name, span] of [
    ["--wave", (at) => [y(bytes[columns + at]), y(bytes[at])]],
    ["--wave-rms", (at) => [y(127.5 + bytes[2 * columns + at] / 2), y(127.5 - bytes[2 * columns + at] / 2)]],
  ]) {
    context.fillStyle = style.getPropertyValue(name);
    for (let at = 0; at < columns; at += 1) {
      const [top, bottom] = span(at);
      context.fillRect(at, top, 1, Math.max(bottom - top, name === "--wave" ? 1 : 0));
    }
  }
  return canvas;
}

function mean(bytes, columns, first, last, column) {
  let sum = 0;
  for (let row = first; row < last; row += 1) sum += bytes[row * columns + column];
  return Math.round(sum / (last - first));
}

function strongest(bytes, columns, first, last, column) {
  let found = 127;
  for (let row = first; row < last; row += 1) {
    const byte = bytes[row * columns + column];
    if (Math.abs(byte - 127.5) > Math.abs(found - 127.5)) found = byte;
  }
  return found;
}

/** Return the byte of a tile at seconds and a height from 0 (bottom) to 1, or null outside. */
export function value(entry, seconds, height) {
  const { bytes, rows, columns, start, stop } = entry.picture;
  const column = Math.floor(((seconds - start) / (stop - start)) * columns);
  const row = Math.min(Math.floor(height * rows), rows - 1);
  return column >= 0 && column < columns && row >= 0 ? bytes[row * columns + column] : null;
}
