// The frame: views, language, theme, API key. The frame writes the page's h1 (the service) and each view's h2 (its
// title); headings inside a view start at h3.

import { read, write, addressWith } from "./address.js";
import { el, fill } from "./dom.js";
import { LANGUAGES, addStrings, language, setLanguage, t } from "./i18n.js";
import { keyAsker } from "./key_dialog.js";
import { problemBox } from "./problem.js";
import { onKeyWanted } from "./service.js";
import { sharedInput } from "./sharing.js";
import { strings } from "./strings/shell.js";

/** The views and their modules, which are loaded when first shown. */
const VIEWS = {
  rerank: () => import("./rerank_view.js"),
  embeddings: () => import("./embeddings_view.js"),
  tokens: () => import("./tokens_view.js"),
  models: () => import("./models_view.js"),
  live: () => import("./live_view.js"),
};
const THEMES = ["auto", "light", "dark"];

addStrings(strings);
allowWorkers();
onKeyWanted(keyAsker);

const header = /** @type {HTMLElement} */ (document.querySelector("header"));
const main = /** @type {HTMLElement} */ (document.querySelector("main"));
let shown = null; // the module of the view on the page
let wanted = "";

applyTheme();
draw();
addEventListener("popstate", draw);

function viewInAddress() {
  const name = read("view") ?? "";
  return name in VIEWS ? name : "rerank";
}

function draw() {
  drawHeader();
  return show(viewInAddress());
}

async function show(name, { focus = false } = {}) {
  wanted = name;
  document.title = `${t(`shell.${name}`)} · ${t("shell.title")}`;
  let view;
  try {
    view = await VIEWS[name]();
  } catch (error) {
    if (wanted === name) fill(main, heading(name), problemBox(error));
    return;
  }
  if (wanted !== name) return; // another view was opened meanwhile
  shown?.unmount();
  shown = view;
  const root = el("div", { class: `view view-${name}` });
  const title = heading(name);
  const isDamaged = !(await restored(view));
  if (wanted !== name) return;
  fill(
    main,
    title,
    el("p", { class: "lead" }, t(`shell.${name}.lead`)),
    isDamaged ? el("p", { class: "note bad", role: "alert" }, t("share.damaged")) : null,
    root,
  );
  view.mount(root);
  if (focus) title.focus();
}

/** Gives a view the input in the URL, if there is one; false: it cannot be read. */
async function restored(view) {
  try {
    const input = view.restore ? await sharedInput(view.id) : null;
    if (input) view.restore(input);
    return true;
  } catch {
    return false;
  }
}

function heading(name) {
  return el("h2", { tabindex: "-1" }, t(`shell.${name}`));
}

function drawHeader() {
  const current = viewInAddress();
  const links = Object.keys(VIEWS).map((name) =>
    el(
      "a",
      { href: addressWith({ view: name }), "aria-current": name === current ? "page" : null, on: { click: follow } },
      t(`shell.${name}`),
    ),
  );
  fill(
    header,
    el("a", { class: "skip", href: "#main" }, t("shell.skip")),
    el("div", { class: "brand" }, el("h1", {}, t("shell.title")), el("a", { href: "./" }, t("shell.api"))),
    el("nav", { "aria-label": t("shell.views") }, links),
    el("div", { class: "switches" }, themeSwitch(), languageSwitch()),
  );
}

function follow(event) {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return; // a new tab or window
  event.preventDefault();
  const name = new URL(event.currentTarget.href).searchParams.get("view");
  write({ view: name }, { push: true });
  drawHeader();
  show(name, { focus: true });
}

function languageSwitch() {
  const options = Object.entries(LANGUAGES).map(([code, name]) => el("option", { value: code, lang: code }, name));
  const select = el("select", { "aria-label": t("shell.language"), value: language() }, options);
  select.addEventListener("change", async () => {
    setLanguage(/** @type {import("./i18n.js").Language} */ (select.value));
    await draw();
    focusOn(".language select");
  });
  return el("label", { class: "language" }, select);
}

function themeSwitch() {
  const options = THEMES.map((name) => el("option", { value: name }, t(`shell.theme.${name}`)));
  const select = el("select", { "aria-label": t("shell.theme"), value: theme() }, options);
  select.addEventListener("change", () => {
    write({ theme: select.value === "auto" ? null : select.value });
    applyTheme();
    drawHeader();
    focusOn(".theme select");
  });
  return el("label", { class: "theme" }, select);
}

function focusOn(selector) {
  /** @type {HTMLElement} */ (header.querySelector(selector)).focus();
}

function theme() {
  const name = read("theme") ?? "";
  return THEMES.includes(name) ? name : "auto";
}

function applyTheme() {
  document.documentElement.dataset.theme = theme();
}

/** The policy that the page's CSP names: workers are loaded only from the page's own files. */
function allowWorkers() {
  const folder = new URL("./", import.meta.url).href;
  globalThis.trustedTypes?.createPolicy("default", {
    createScriptURL(url) {
      const { href } = new URL(url, document.baseURI);
      if (!href.startsWith(folder)) throw new TypeError("Not a file of this page");
      return href;
    },
  });
}
