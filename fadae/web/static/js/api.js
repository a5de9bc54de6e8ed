// What the page asks of its server, and how an answer becomes a value.

const RETRIES = 3;
const COME_AGAIN = [429, 503];

/** The workspace's state: part of every address of data, so that browsers may keep answers. */
let state = "";

export class Refused extends Error {}

/** Return the address of an answer; parameters that are null are left out. */
export function address(name, parameters = {}) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    if (value != null) query.set(key, String(value));
  }
  if (state) query.set("state", state);
  const text = query.toString();
  return `api/${name}${text ? `?${text}` : ""}`;
}

async function ask(name, parameters, signal) {
  for (let attempt = 0; ; attempt += 1) {
    let response;
    try {
      response = await fetch(address(name, parameters), { signal });
    } catch (error) {
      if (error.name === "AbortError" || attempt >= RETRIES) throw error;
    }
    if (response?.ok) return response;
    if (response && (!COME_AGAIN.includes(response.status) || attempt >= RETRIES)) {
      const reason = await response.json().then((body) => body.error, () => response.statusText);
      throw new Refused(reason);
    }
    await new Promise((resolve) => setTimeout(resolve, 400 * 2 ** attempt));
  }
}

export async function json(name, parameters, signal) {
  return (await ask(name, parameters, signal)).json();
}

/** Return what the workspace holds; later requests carry its state. */
export async function workspace() {
  state = "";
  const about = await json("workspace");
  state = about.state;
  return about;
}

/** Return a picture: bytes, row by row from low to high, and the seconds it spans. */
export async function raster(name, parameters, signal) {
  const response = await ask(name, parameters, signal);
  const header = (key) => Number(response.headers.get(`Fadae-${key}`));
  return {
    bytes: new Uint8Array(await response.arrayBuffer()),
    rows: header("Rows"),
    columns: header("Columns"),
    start: header("Start"),
    stop: header("Stop"),
  };
}

/** Return the samples of a 16-bit mono WAV file as floats, unresampled. */
export async function samples(name, parameters, signal) {
  const view = new DataView(await (await ask(name, parameters, signal)).arrayBuffer());
  let at = 12;
  while (view.getUint32(at, false) !== 0x64617461) { // "data"
    const size = view.getUint32(at + 4, true);
    at += 8 + size + (size % 2);
  }
  const count = view.getUint32(at + 4, true) / 2;
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 1) values[i] = view.getInt16(at + 8 + 2 * i, true) / 32768;
  return values;
}
