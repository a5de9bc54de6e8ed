// Colour maps: 256 colours from the page's own paper to its ink, even in lightness (OKLab).

const STOPS = {
  light: {
    level: ["#f6f2e9", "#f3d9a4", "#ec9f6e", "#cc5b74", "#8a3c86", "#432b66", "#171322"],
    signed: ["#0a3f78", "#4f93cf", "#f6f2e9", "#e08a55", "#8a2c0e"],
  },
  dark: {
    level: ["#0d0f14", "#25235a", "#63308c", "#b5417f", "#ec7a57", "#fbce8b", "#fffaea"],
    signed: ["#a5d6ff", "#2a6fae", "#0d0f14", "#b5551f", "#ffc89a"],
  },
};

const dark = matchMedia("(prefers-color-scheme: dark)");
const tables = new Map();

export const isDark = () => dark.matches;

/** Call back when the page turns light or dark. */
export function whenThemeChanges(callback) {
  dark.addEventListener("change", callback);
}

/** Return 256 colours as 32-bit pixels: "level" from nothing to full, "signed" around zero. */
export function colours(kind) {
  const theme = dark.matches ? "dark" : "light";
  const key = `${theme} ${kind}`;
  if (!tables.has(key)) tables.set(key, table(STOPS[theme][kind], kind === "level"));
  return tables.get(key);
}

function table(stops, evenLightness) {
  const labs = stops.map(toLab);
  const dense = Array.from({ length: 2049 }, (_, i) => between(labs, (i / 2048) * (labs.length - 1)));
  const pixels = new Uint32Array(256);
  const [first, last] = [labs[0][0], labs.at(-1)[0]];
  let at = 0;
  for (let i = 0; i < 256; i += 1) {
    let lab = between(labs, (i / 255) * (labs.length - 1));
    if (evenLightness) {
      const wanted = first + ((last - first) * i) / 255;
      while (at < 2048 && (last > first ? dense[at][0] < wanted : dense[at][0] > wanted)) at += 1;
      lab = dense[at];
    }
    pixels[i] = toPixel(lab);
  }
  return pixels;
}

function between(labs, position) {
  const low = Math.min(Math.floor(position), labs.length - 2);
  return labs[low].map((value, axis) => value + (labs[low + 1][axis] - value) * (position - low));
}

// Björn Ottosson, https://bottosson.github.io/posts/oklab/
function toLab(hex) {
  const [r, g, b] = [1, 3, 5].map((i) => {
    const value = parseInt(hex.slice(i, i + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

function toPixel([lightness, a, b]) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const [red, green, blue] = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((value) => {
    const bounded = Math.min(1, Math.max(0, value));
    const shown = bounded <= 0.0031308 ? 12.92 * bounded : 1.055 * bounded ** (1 / 2.4) - 0.055;
    return Math.round(shown * 255);
  });
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0; // little-endian RGBA
}
