// The input of a view in the fragment of the page's URL, which browsers do not send to any server, and a button that
// copies such a link. The page never writes the user's texts into the URL unless the user presses it.

import { addressWith } from "./address.js";
import { toClipboard } from "./copy_as.js";
import { el, fill, smallButton } from "./dom.js";
import { t } from "./i18n.js";

/** Longer links do not survive chat and mail programs. */
const MOST_CHARACTERS = 16_000;
const STATE = /^#state=([\w-]+)$/;

let applied = ""; // the fragment that the page already shows

/**
 * The input in the URL, once for each link.
 * @param {string} view @returns {Promise<Object | null>} null: none for this view, or none that is new
 * @throws {Error} if the link is damaged
 */
export async function sharedInput(view) {
  const packed = STATE.exec(location.hash)?.[1];
  if (!packed || packed === applied) return null;
  applied = packed;
  const { view: owner, ...input } = await unpack(packed);
  return owner === view ? input : null;
}

/**
 * @param {string} view @param {() => Object} getInput what `restore` of the view takes @returns {HTMLElement}
 */
export function shareButton(view, getInput) {
  const status = el("span", { class: "note", role: "status" });
  return el("span", { class: "row" }, smallButton(t("share.copy"), share), status);

  async function share() {
    const packed = await pack({ view, ...getInput() });
    if (packed.length > MOST_CHARACTERS) {
      fill(status, t("share.long", { length: packed.length, limit: MOST_CHARACTERS }));
      return;
    }
    applied = packed;
    history.replaceState(null, "", `${addressWith({ view })}#state=${packed}`);
    fill(status, t((await toClipboard(location.href)) ? "share.copied" : "share.in_address"));
  }
}

/** JSON, compressed, in base64url. */
async function pack(input) {
  const bytes = await through(new CompressionStream("deflate-raw"), new TextEncoder().encode(JSON.stringify(input)));
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

async function unpack(packed) {
  const text = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(text, (each) => each.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(await through(new DecompressionStream("deflate-raw"), bytes)));
}

async function through(stream, bytes) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

/** Whether a value from a link is a list of strings. */
export function isTexts(value) {
  return Array.isArray(value) && value.every((each) => typeof each === "string");
}
