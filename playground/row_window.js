// Long lists of rows of one height: only those near what is on the screen are made, so that a thousand cost no more
// than a few. Lists side by side, and the lines between them, follow one scroller together.

/** A list that is no longer is drawn as a whole. */
const SHORT_ROWS = 24;
/** Rows that are made beyond what is on the screen, and how many of them in one frame. */
const MARGIN_ROWS = 12;
const STEP_ROWS = 4;

/**
 * The part of `rows` rows that `scroller` shows. What it holds is as high as all rows and begins at its top.
 * @param {HTMLElement} scroller
 * @param {number} rows
 * @returns {{follow: (draw: (first: number, last: number) => void) => void, show: (place: number) => void}} `draw` is
 *   called with the places (from 0; `last` excluded) that are to be there, once the scroller is on the page and
 *   whenever the reader goes beyond them; `show` brings a place onto the screen
 */
export function rowWindow(scroller, rows) {
  const draws = [];
  let drawn = null;
  let waiting = false;
  scroller.addEventListener("scroll", later, { passive: true });
  new ResizeObserver(later).observe(scroller); // its first call comes once the scroller is on the page
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
    later(); // for the rows beyond, and in case that drawing has changed what there is to see
  }

  function show(place) {
    scroller.scrollTop = (place * scroller.scrollHeight) / rows - scroller.clientHeight / 2;
    update();
  }
}

/** What is on the screen, at once; then, a few rows at a time, what is beyond. Rows that are far away go. */
function nextRange(drawn, first, last, rows) {
  const [start, end] = [Math.max(0, first - MARGIN_ROWS), Math.min(rows, last + MARGIN_ROWS)];
  if (!drawn || drawn[1] <= first || drawn[0] >= last) return [first, last];
  if (drawn[0] > first || drawn[1] < last) {
    return [Math.min(first, Math.max(drawn[0], start)), Math.max(last, Math.min(drawn[1], end))];
  }
  return [Math.max(start, drawn[0] - STEP_ROWS), Math.min(end, drawn[1] + STEP_ROWS)];
}
