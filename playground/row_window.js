// Virtual lists with rows of equal height: only rows near the visible ones exist. Lists side by side, and the lines
// between them, share one scroller.

/** Lists up to this length are drawn completely. */
const SHORT_ROWS = 24;
/** Rows beyond the visible ones, and how many of them to create in one frame. */
const MARGIN_ROWS = 12;
const STEP_ROWS = 4;

/**
 * The visible part of `rows` rows in `scroller`, whose content starts at its top and is as high as all rows.
 * @param {HTMLElement} scroller @param {number} rows
 * @returns {{follow: (draw: (first: number, last: number) => void) => void, show: (place: number) => void}} `draw` is
 *   called with the range of places (from 0; `last` excluded) to draw, once the scroller is on the page and whenever
 *   the user scrolls beyond it; `show` scrolls to a place
 */
export function rowWindow(scroller, rows) {
  const draws = [];
  let drawn = null;
  let waiting = false;
  scroller.addEventListener("scroll", later, { passive: true });
  new ResizeObserver(later).observe(scroller); // first called once the scroller is on the page
  return { follow: (draw) => draws.push(draw), show };

  function later() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      update();
    });
  }

  function update() {
    const height = scroller.scrollHeight / rows;
    if (!height) return;
    const first = Math.max(0, Math.floor(scroller.scrollTop / height));
    const last = Math.min(rows, Math.ceil((scroller.scrollTop + scroller.clientHeight) / height));
    const next = rows > SHORT_ROWS ? nextRange(drawn, first, last, rows) : [0, rows];
    if (next[0] === drawn?.[0] && next[1] === drawn[1]) return;
    drawn = next;
    for (const draw of draws) draw(...drawn);
    later(); // for the rows beyond, and in case drawing changed the layout
  }

  function show(place) {
    scroller.scrollTop = (place * scroller.scrollHeight) / rows - scroller.clientHeight / 2;
    update();
  }
}

/** Draws visible rows at once, then rows beyond a few at a time, and removes distant rows. */
function nextRange(drawn, first, last, rows) {
  const [start, end] = [Math.max(0, first - MARGIN_ROWS), Math.min(rows, last + MARGIN_ROWS)];
  if (!drawn || drawn[1] <= first || drawn[0] >= last) return [first, last];
  if (drawn[0] > first || drawn[1] < last) {
    return [Math.min(first, Math.max(drawn[0], start)), Math.max(last, Math.min(drawn[1], end))];
  }
  return [Math.max(start, drawn[0] - STEP_ROWS), Math.min(end, drawn[1] + STEP_ROWS)];
}
