// A focusable picture. A line below it, also read aloud, describes the place under the pointer or the keyboard cursor.

import { el, fill, uniqueId } from "./dom.js";

/**
 * @template Place a place in the picture, as defined by the caller
 * @param {object} options
 * @param {string} options.name the box has the class NAME-box
 * @param {SVGElement} options.picture
 * @param {SVGElement} options.cursor in the picture; visible while there is a place
 * @param {string} options.label
 * @param {string} options.help describes the keys
 * @param {Place} options.start the first place for the keys
 * @param {(event: MouseEvent) => Place | null} options.under the place under the pointer
 * @param {(key: string, place: Place) => Place | null} options.step the place after a key; null for other keys
 * @param {(place: Place) => void} options.mark moves the cursor to a place
 * @param {(place: Place | null) => any} options.words the text of the line
 * @param {(place: Place) => string} options.spoken the same for a screen reader
 * @param {(place: Place) => void} options.onChoose called on Enter, space or a click
 * @param {(place: Place, box: HTMLElement) => void} [options.reveal] scrolls the box to a place reached by key
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
    if (shown === null) show(null); // the text of the line may have changed
  }
}
