// A slider and a number field for the dimensions, with the widths that the model was trained for.

import { el, fill, smallButton, uniqueId } from "./dom.js";
import { number, t } from "./i18n.js";

const NEIGHBOURS = [1, 3, 5, 10, 20];

/**
 * @param {{d: number, width: number, k: number, texts: object[], model: Object, onWidth: (width: number) => void,
 *   onNeighbours: (k: number) => void}} options
 * @returns {HTMLElement}
 */
export function widthChooser({ d, width, k, texts, model, onWidth, onNeighbours }) {
  const trained = [...(model.matryoshka_dimensions ?? [])].filter((each) => each < d).sort((a, b) => a - b);
  const ticks = [...trained, d].map((each) => el("option", { value: each }));
  const marks = el("datalist", { id: uniqueId("widths") }, ticks);
  const slider = el("input", {
    id: uniqueId("width"),
    type: "range",
    class: "width-slider",
    min: 1,
    max: d,
    step: 1,
    list: marks.id,
    value: width,
  });
  const label = t("embeddings.width.exact");
  const exact = el("input", { type: "number", "aria-label": label, min: 1, max: d, value: width });
  const note = el("p", { class: "note warn" });
  slider.addEventListener("input", () => take(Number(slider.value)));
  exact.addEventListener("change", () => take(Math.max(1, Math.min(d, Math.round(Number(exact.value)) || d))));
  describe(width);
  return el(
    "div",
    { class: "stack tight" },
    el("p", { class: "note" }, t("embeddings.width.lead")),
    el("div", { class: "row width-row" }, el("label", { for: slider.id }, t("embeddings.width")), slider, exact, marks),
    el(
      "div",
      { class: "row" },
      trained.map((each) => button(each, t("embeddings.width.trained", { width: each }))),
      button(d, t("embeddings.width.all", { width: d })),
      neighboursSelect(),
    ),
    note,
  );

  function button(value, label) {
    return smallButton(label, () => take(value));
  }

  function take(value) {
    slider.value = String(value);
    exact.value = String(value);
    slider.setAttribute("aria-valuetext", number(value));
    describe(value);
    onWidth(value);
  }

  function describe(value) {
    const name = model.id;
    const widths = [...trained, d].map((one) => number(one)).join(", ");
    if (value === d || trained.includes(value)) fill(note);
    else if (!trained.length) fill(note, t("embeddings.width.untrained", { model: name }));
    else fill(note, t("embeddings.width.between", { model: name, widths }));
  }

  function neighboursSelect() {
    const possible = NEIGHBOURS.filter((each) => each < texts.length || each === 1);
    const options = possible.map((each) => el("option", { value: each }, number(each)));
    const select = el("select", { id: uniqueId("k"), value: k }, options);
    select.addEventListener("change", () => onNeighbours(Number(select.value)));
    return el("span", { class: "row" }, el("label", { for: select.id }, t("embeddings.width.k")), select);
  }
}
