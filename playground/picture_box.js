// A picture that takes the focus. What is pointed at in it, or reached by key, is told in a line under it, and aloud.

import { el, fill, uniqueId } from "./dom.js";

/**
 * @template Place where something lies in the picture, as the caller counts
 * @param {object} options
 * @param {string} options.name the box is of the class NAME-box
 * @param {SVGElement} options.picture
 * @param {SVGElement} options.cursor in the picture: shown while there is a place
 * @param {string} options.label
 * @param {string} options.help which keys there are
 * @param {Place} options.start where the keys begin
 * @param {(event: MouseEvent) => Place | null} options.under what the pointer is at
 * @param {(key: string, place: Place) => Place | null} options.step where a key leads; null: it is not one of them
 * @param {(place: Place) => void} options.mark brings the cursor to a place
 * @param {(place: Place | null) => any} options.words what the line says
 * @param {(place: Place) => string} options.spoken the same for a screen reader
 * @param {(place: Place) => void} options.onChoose by Enter, the space bar or a click
 * @param {(place: Place, box: HTMLElement) => void} [options.reveal] scrolls the box to where a key has led
 * @returns {{box: HTMLElement, readout: HTMLElement[], help: HTMLElement, moveTo: (place: Place) => void}} to be laid
 *   out by the caller; `moveTo` lets the keys go on from a place
 */
export function pictureBox(options) {
  const { name, picture, cursor, label, start, under, step, mark, words, spoken, onChoose, reveal } = options;
  const line = el("div", { class: "readout" });
  const heard = el("p", { class: "visually-hidden", role: "status" });
  const help = el("p", { class: "note", id: uniqueId("picture-help") }, options.help);
  const box = el(
    "div",
    {
      class: `${name}-box`,
      tabindex: "0",
      role: "application",
      "aria-label": label,
      "aria-describedby": help.id,
      on: {
        pointermove: (event) => show(under(event)),
        pointerleave: () => show(null),
        click: clicked,
        focus: focused,
        blur: () => show(null),
        keydown: pressed,
      },
    },
    picture,
  );
  let at = start;
  let shown = null;
  show(null);
  return { box, readout: [line, heard], help, moveTo };

  function show(place, { aloud = false } = {}) {
    shown = place;
    cursor.setAttribute("visibility", place === null ? "hidden" : "visible");
    if (place !== null) mark(place);
    fill(line, words(place));
    if (aloud) fill(heard, spoken(place));
  }

  function clicked(event) {
    const place = under(event);
    if (place === null) return;
    at = place;
    show(at);
    onChoose(at);
  }

  function focused() {
    if (box.matches(":focus-visible")) show(at, { aloud: true });
  }

  function pressed(event) {
    if (event.key === "Enter" || event.key === " ") {
      onChoose(at);
    } else {
      const next = step(event.key, at);
      if (next === null) return;
      at = next;
    }
    event.preventDefault();
    show(at, { aloud: true });
    reveal?.(at, box);
  }

  function moveTo(place) {
    at = place;
    if (shown === null) show(null); // the line may have something else to say now
  }
}
