// Places labels on a map of points so that none covers another one or a point: greedy, in two passes. The first pass
// labels as many points as possible with their number, the second replaces numbers with whole labels if they fit.

const CELL = 40;
const GAP = 2;
/** Points between two pauses. */
const SLICE = 64;

/** @typedef {{x: number, y: number, width: number, height: number}} Box x and y are its upper left corner */

/** An index of boxes by the grid cells that they touch, to find overlaps quickly. */
class Occupied {
  constructor() {
    this.cells = new Map();
  }

  keys({ x, y, width, height }) {
    const keys = [];
    for (let column = Math.floor(x / CELL); column <= Math.floor((x + width) / CELL); column += 1) {
      for (let row = Math.floor(y / CELL); row <= Math.floor((y + height) / CELL); row += 1) {
        keys.push(column * 100_003 + row);
      }
    }
    return keys;
  }

  add(box) {
    for (const key of this.keys(box)) {
      const cell = this.cells.get(key);
      if (cell) cell.push(box);
      else this.cells.set(key, [box]);
    }
  }

  remove(box) {
    for (const key of this.keys(box)) {
      const cell = this.cells.get(key);
      cell.splice(cell.indexOf(box), 1);
    }
  }

  isFree(box, own) {
    const covers = (other) => other !== own && meet(box, other);
    return this.keys(box).every((key) => !this.cells.get(key)?.some(covers));
  }
}

function meet(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

/**
 * Finds a box for each label, or null if it does not fit.
 * @param {object} map @param {{x: number, y: number}[]} map.points
 * @param {string[][]} map.labels for each point its labels from the shortest to the longest
 * @param {number} map.width @param {number} map.height
 * @param {number} map.radius of the points
 * @param {number} map.lineHeight of the labels
 * @param {(text: string) => number} map.measure a text's width
 * @param {() => Promise<void> | void} [pause] awaited between slices of the work
 * @returns {Promise<(Box & {text: string} | null)[]>}
 */
export async function placeLabels({ points, labels, width, height, radius, lineHeight, measure }, pause = () => {}) {
  const occupied = new Occupied();
  const marks = points.map(({ x, y }) => ({ x: x - radius, y: y - radius, width: 2 * radius, height: 2 * radius }));
  marks.forEach((mark) => occupied.add(mark));
  const placed = points.map(() => /** @type {(Box & {text: string}) | null} */ (null));
  for (let index = 0; index < points.length; index += 1) {
    if (index % SLICE === 0) await pause();
    place(index, 0);
  }
  for (let index = 0; index < points.length; index += 1) {
    if (index % SLICE === 0) await pause();
    if (!placed[index]) continue; // its number does not fit, so nothing does
    for (let size = labels[index].length - 1; size > 0; size -= 1) if (place(index, size)) break;
  }
  return placed;

  function place(index, size) {
    const text = labels[index][size];
    const now = placed[index];
    const wide = measure(text);
    for (const [x, y] of places(points[index], wide)) {
      const box = { x, y, width: wide, height: lineHeight };
      const inside = x >= 0 && y >= 0 && x + wide <= width && y + lineHeight <= height;
      if (!inside || !occupied.isFree(box, now)) continue;
      if (now) occupied.remove(now);
      placed[index] = { ...box, text };
      occupied.add(placed[index]);
      return true;
    }
    return false;
  }

  /** Right and left of the point first, then above and below, then the corners. */
  function places({ x, y }, wide) {
    const [right, left] = [x + radius + GAP, x - radius - GAP - wide];
    const [above, below, level] = [y - radius - lineHeight, y + radius, y - lineHeight / 2];
    return [
      [right, level],
      [left, level],
      [x - wide / 2, above],
      [x - wide / 2, below],
      [right, above + radius],
      [right, below - radius],
      [left, above + radius],
      [left, below - radius],
    ];
  }
}

/**
 * Scales points to a box, with the same scale for both axes, so that distances are comparable.
 * @param {Float64Array} coordinates (n, 2)
 * @param {{width: number, height: number, margin: number}} box @returns {{x: number, y: number}[]}
 */
export function project(coordinates, { width, height, margin }) {
  const n = coordinates.length / 2;
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < n; i += 1) {
    left = Math.min(left, coordinates[2 * i]);
    right = Math.max(right, coordinates[2 * i]);
    bottom = Math.min(bottom, coordinates[2 * i + 1]);
    top = Math.max(top, coordinates[2 * i + 1]);
  }
  const room = { x: Math.max(width - 2 * margin, 1), y: Math.max(height - 2 * margin, 1) };
  const scale = Math.min(room.x / (right - left || 1e-9), room.y / (top - bottom || 1e-9));
  const usable = right - left > 1e-9 || top - bottom > 1e-9 ? scale : 0;
  return Array.from({ length: n }, (_, i) => ({
    x: width / 2 + (coordinates[2 * i] - (left + right) / 2) * usable,
    y: height / 2 - (coordinates[2 * i + 1] - (bottom + top) / 2) * usable,
  }));
}

/**
 * The nearest point to a place, or the nearest in a direction from another point; -1 if there is none.
 * @param {{x: number, y: number}[]} points @param {{x: number, y: number}} from
 * @param {[number, number]} [direction] consider only points within 45 degrees of it
 * @returns {number}
 */
export function nearestPoint(points, from, direction) {
  let best = -1;
  let least = Infinity;
  points.forEach((point, index) => {
    const [dx, dy] = [point.x - from.x, point.y - from.y];
    let distance = Math.hypot(dx, dy);
    if (direction) {
      const ahead = dx * direction[0] + dy * direction[1];
      const aside = Math.abs(dx * direction[1] - dy * direction[0]);
      if (ahead <= 0.01 || aside > ahead) return;
      distance += aside;
    }
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
}
