// The page's state in its URL: ?view=rerank&lang=ja&theme=dark, so that a shared link shows the same page.

/**
 * A parameter of the URL's query, or null.
 * @param {string} name @returns {string | null}
 */
export function read(name) {
  return new URLSearchParams(location.search).get(name);
}

/**
 * The page's address with changed parameters; null removes one. The fragment (sharing.js) is that of one view.
 * @param {Object<string, string | null>} parts @returns {string}
 */
export function addressWith(parts) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(parts)) {
    if (value === null) query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  return location.pathname + (text ? `?${text}` : "") + ("view" in parts ? "" : location.hash);
}

/**
 * Changes parameters of the URL; with `push`, Back undoes it.
 * @param {Object<string, string | null>} parts @param {{push?: boolean}} [options]
 */
export function write(parts, { push = false } = {}) {
  history[push ? "pushState" : "replaceState"](null, "", addressWith(parts));
}
