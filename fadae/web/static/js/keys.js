// The keyboard: single keys, off where somebody types, and off altogether for who wants that.

import { byId } from "./dom.js";

const REMEMBERED = "fadae keys";

/** `actions`: key -> function(event). */
export function listenForKeys(actions) {
  const box = byId("keys-on");
  box.checked = remembered() !== "off";
  box.addEventListener("change", () => remember(box.checked ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    const { target } = event;
    const own = target.closest("[role=slider]") && /^(Arrow|Home|End)/.test(event.key);
    if (!box.checked && !own) return; // a focused control keeps the keys that work it
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    if (target.closest("input:not([type=radio]), select, textarea, summary")) return;
    if (event.key === " " && target.closest("button, a, input")) return;
    if (event.key.startsWith("Arrow") && target.closest("input, .shelf")) return;
    const action = actions[event.key] ?? (/^[1-9]$/.test(event.key) ? actions.digit : null);
    if (!action) return;
    event.preventDefault();
    action(event);
  });
}

function remembered() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null; // storage may be forbidden; keys are on then
  }
}

function remember(value) {
  try {
    localStorage.setItem(REMEMBERED, value);
  } catch {
    // kept for this visit only
  }
}
