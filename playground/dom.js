// Creates elements. Texts become only text nodes and attribute values; nothing here parses markup.

const PROPERTIES = new Set(["value", "checked", "selected", "indeterminate"]);
const SVG = "http://www.w3.org/2000/svg";
let lastId = 0;

/**
 * An HTML element. `props` are attributes (true: present, false or null: absent), `class`, and `on: {click: listener}`.
 * Children are nodes, strings, numbers, null, or lists of these; strings become text nodes.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {Object<string, any>} [props] @param {...any} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function el(tag, props = {}, ...children) {
  return build(document.createElement(tag), props, children);
}

/**
 * The same in the SVG namespace.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag @param {Object<string, any>} [attributes] @param {...any} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * Replaces the children of `parent`.
 * @template {Element} T
 * @param {T} parent @param {...any} children @returns {T}
 */
export function fill(parent, ...children) {
  parent.replaceChildren(...nodes(children));
  return parent;
}

/**
 * Debounces `fn`: calls it once, `ms` after the last of a series of calls.
 * @param {Function} fn @param {number} ms
 */
export function debounce(fn, ms) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => fn(...args), ms);
  };
}

/**
 * A unique element id, for labels and descriptions.
 * @param {string} prefix
 */
export function uniqueId(prefix) {
  lastId += 1;
  return `${prefix}-${lastId}`;
}

/** Lets the browser paint and handle input between two slices of long work. */
export function breathe() {
  const { scheduler } = /** @type {any} */ (globalThis); // not in all browsers
  return scheduler?.yield ? scheduler.yield() : new Promise((resolve) => setTimeout(resolve));
}

/** @returns {any} the element */
function build(element, props, children) {
  const { on = {}, ...attributes } = props;
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  element.append(...nodes(children));
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (PROPERTIES.has(name) && element.namespaceURI !== SVG && name in element) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  return element;
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/**
 * @param {string} label @param {() => void} click @returns {HTMLButtonElement}
 */
export function smallButton(label, click) {
  return el("button", { type: "button", class: "button small", on: { click } }, label);
}
