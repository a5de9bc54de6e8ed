// Choosing with a pointer: a drag over a picture is a span of time and, where it has bands, of hertz.

const LEAST_PIXELS = 6;

/**
 * Let a frame be dragged over and clicked.
 * `to` says what a point means: {seconds, hz} (hz null where a picture has no bands).
 * `choose` gets {from, to, low, high}, `click` the seconds, `hover` the point or null.
 */
export function selectable(frame, { to, choose, click, hover }) {
  let start = null;
  let dragging = false;

  const point = (event) => {
    const box = frame.getBoundingClientRect();
    const share = (value) => Math.min(1, Math.max(0, value));
    const across = share((event.clientX - box.left) / box.width);
    const up = share(1 - (event.clientY - box.top) / box.height);
    return { ...to(across, up), across, up, x: event.clientX, y: event.clientY };
  };

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    start = point(event);
    dragging = false;
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointermove", (event) => {
    const here = point(event);
    hover?.(here);
    if (!start) return;
    dragging ||= Math.abs(here.x - start.x) > LEAST_PIXELS;
    if (dragging) choose(range(start, here), false);
  });
  frame.addEventListener("pointerup", (event) => {
    if (!start) return;
    const here = point(event);
    if (dragging) choose(range(start, here), true);
    else click(here.seconds);
    start = null;
  });
  frame.addEventListener("pointercancel", () => { start = null; });
  frame.addEventListener("pointerleave", () => hover?.(null));
}

function range(a, b) {
  const sorted = (x, y) => (x < y ? [x, y] : [y, x]);
  const [from, to] = sorted(a.seconds, b.seconds);
  // A drag along one line means time alone: hands are not that steady.
  const flat = a.hz == null || Math.abs(a.y - b.y) < 4 * LEAST_PIXELS;
  const [low, high] = flat ? [null, null] : sorted(a.hz, b.hz);
  return { from, to: Math.max(to, from + 0.05), low, high };
}

/** Lay a box over a frame for a range, within the span of seconds that the frame shows. */
export function outline(box, range, span, height) {
  const share = (seconds) => (seconds - span.start) / (span.stop - span.start);
  const hidden = !range || share(range.to) <= 0 || share(range.from) >= 1;
  box.hidden = hidden;
  if (hidden) return;
  const [left, right] = [Math.max(0, share(range.from)), Math.min(1, share(range.to))];
  box.style.left = `${left * 100}%`;
  box.style.width = `${(right - left) * 100}%`;
  const low = height && range.low != null ? height(range.low) : 0;
  const high = height && range.high != null ? height(range.high) : 1;
  box.style.bottom = `${low * 100}%`;
  box.style.top = `${(1 - high) * 100}%`;
}
