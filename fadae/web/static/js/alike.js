// More like this: what else sounds like the selection, as links that play it.

import { json } from "./api.js";
import { announce, byId, clock, make, trouble } from "./dom.js";
import { toAddress } from "./store.js";

const FOUND = 8;

/** Show what sounds like the seconds [from, to) of a recording. */
export async function showAlike(recording, { from, to }, stillWanted) {
  const button = byId("more");
  button.disabled = true;
  try {
    const { found } = await json("similar", { recording: recording.id, start: from, stop: to, k: FOUND });
    if (!stillWanted()) return;
    byId("alike-title").textContent = `Like ${recording.title}, ${clock(from)} to ${clock(to)}`;
    byId("alike").querySelector("ol").replaceChildren(...found.map(row));
    byId("alike").hidden = false;
    byId("alike").focus();
    byId("alike").scrollIntoView({ block: "nearest" });
    announce(`${found.length} found`);
  } catch (error) {
    trouble(`Nothing was found: ${error.message}`);
  } finally {
    button.disabled = false;
  }
}

/** Put away what was found: another recording is on the stage. */
export function hideAlike() {
  byId("alike").hidden = true;
}

function row({ id, title, creator, start_seconds: from, stop_seconds: to, score }) {
  const href = toAddress({ view: "listen", recording: id, from, to });
  return make("li", {},
    make("a", { href, dir: "auto" }, title || id),
    make("span", { class: "quiet small" }, [creator, `${clock(from)} – ${clock(to)}`, `${Math.round(100 * score)} %`].filter(Boolean).join(" · ")));
}
