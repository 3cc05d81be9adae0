// Programs that send a given request: curl, Python (openai, cohere, requests), JavaScript. All texts are escaped; the
// key is read from the environment variable API_KEY and never included.

/**
 * @typedef {{method: string, path: string, body?: any}} Request as service.js sends it; the path is relative to `root`
 * @typedef {{root: string, key: boolean}} Target the service's URL, without a final slash; whether it has keys
 * @typedef {{text: string, note?: string}} Snippet a program and a note; no text: not possible
 */

/** The generators, in display order: name -> (request, target) -> Snippet. */
export const SNIPPETS = {
  curl,
  openai,
  cohere,
  requests,
  javascript,
};

/** Characters with a special meaning in a terminal, an editor or a parser. */
const UNSAFE = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;
/** Fields of cohere.Client.rerank and .embed; others travel as additional_body_parameters. */
const COHERE_RERANK = ["model", "query", "documents", "top_n", "rank_fields", "return_documents"];
/** Values of /v1/embeddings -> those of /v1/embed, which Cohere's client uses. */
const COHERE_EMBED = {
  model: "model",
  input: "texts",
  input_type: "input_type",
  truncate: "truncate",
  dimensions: "output_dimension",
  priority: "priority",
};
const COHERE_EMBED_METHOD = ["model", "texts", "input_type", "truncate", "embedding_types"];
/** Fields of OpenAI.embeddings.create; others travel as extra_body. */
const OPENAI_EMBEDDINGS = ["model", "input", "encoding_format", "dimensions", "user"];

/** @param {Request} request @param {Target} target @returns {Snippet} */
function curl({ method, path, body }, { root, key }) {
  const lines = [`curl -sS -X ${method} ${shell(`${root}/${path}`)}`];
  if (key) lines.push(`  -H "Authorization: Bearer $API_KEY"`);
  if (body === undefined) return { text: `${lines.join(" \\\n")}\n` };
  lines.push("  -H 'Content-Type: application/json'", "  --data-binary @- <<'JSON'");
  // Some shells expand "!" in pasted text, even here
  return { text: `${lines.join(" \\\n")}\n${json(body, 2).replaceAll("!", "\\u0021")}\nJSON\n` };
}

/** @param {Request} request @param {Target} target @returns {Snippet} */
function openai({ method, path, body }, { root, key }) {
  const below = path.startsWith("v1/");
  const head = `${imports(key, path === "v1/embeddings" ? [] : ["json"], "from openai import OpenAI")}
client = OpenAI(base_url=${string(below ? `${root}/v1` : root)}, api_key=${keyValue(key)})
`;
  if (path === "v1/embeddings") {
    // Without a format the client requests base64
    const fields = { encoding_format: "float", ...body };
    const call = keywords(pick(fields, OPENAI_EMBEDDINGS), "extra_body", omit(fields, OPENAI_EMBEDDINGS));
    return { text: `${head}answer = client.embeddings.create(\n${call})\nprint(answer.model_dump_json())\n` };
  }
  const route = string(`/${below ? path.slice(3) : path}`);
  const call = method === "GET" ? `client.get(${route}, cast_to=object)` : openaiPost(route, body);
  const tail = "print(json.dumps(answer, ensure_ascii=False))\n";
  return { text: `${head}answer = ${call}\n${tail}`, note: "copy.openaiPost" };
}

function openaiPost(route, body) {
  return `client.post(\n    ${route},\n    cast_to=object,\n    body=${python(body, 4)},\n)`;
}

/** @param {Request} request @param {Target} target @returns {Snippet} */
function cohere({ path, body }, { root, key }) {
  const head = `${imports(key, [], "import cohere")}
client = cohere.Client(api_key=${keyValue(key)}, base_url=${string(root)})
`;
  const tail = "print(answer.model_dump_json())\n";
  if (path === "v1/rerank") {
    const call = cohereCall(body, COHERE_RERANK);
    return { text: `${head}answer = client.rerank(\n${call})\n${tail}` };
  }
  const fields = path === "v1/embeddings" ? cohereEmbed(body) : null;
  if (!fields) return { text: "", note: "copy.cohereNot" };
  const call = cohereCall(fields, COHERE_EMBED_METHOD);
  return { text: `${head}answer = client.embed(\n${call}    batching=False,\n)\n${tail}`, note: "copy.cohereEmbed" };
}

/** The equivalent body of /v1/embed, or null if there is none. */
function cohereEmbed({ encoding_format = "float", ...body }) {
  const fields = { embedding_types: [encoding_format] };
  for (const [name, value] of Object.entries(omit(body, ["user"]))) {
    if (!(name in COHERE_EMBED)) return null;
    fields[COHERE_EMBED[name]] = name === "input" && typeof value === "string" ? [value] : value;
  }
  return fields;
}

function cohereCall(fields, known) {
  const others = omit(fields, known);
  const options = Object.keys(others).length ? { additional_body_parameters: others } : {};
  return keywords(pick(fields, known), "request_options", options);
}

/** @param {Request} request @param {Target} target @returns {Snippet} */
function requests({ method, path, body }, { root, key }) {
  const lines = [`    ${string(method)},`, `    ${string(`${root}/${path}`)},`];
  if (key) lines.push(`    headers={"Authorization": "Bearer " + os.environ["API_KEY"]},`);
  if (body !== undefined) lines.push(`    json=${python(body, 4)},`);
  const head = imports(key, [], "import requests");
  const call = `requests.request(\n${lines.join("\n")}\n    timeout=300,\n)`;
  return { text: `${head}\nanswer = ${call}\nprint(answer.text)\n` };
}

/** @param {Request} request @param {Target} target @returns {Snippet} */
function javascript({ method, path, body }, { root, key }) {
  const headers = [];
  if (body !== undefined) headers.push(`"Content-Type": "application/json"`);
  if (key) headers.push("Authorization: `Bearer ${process.env.API_KEY}`");
  const lines = [`    method: ${string(method)},`];
  if (headers.length) lines.push(`    headers: { ${headers.join(", ")} },`);
  if (body !== undefined) lines.push(`    body: JSON.stringify(${indented(json(body, 2), 4)}),`);
  const call = `fetch(${string(`${root}/${path}`)}, {\n${lines.join("\n")}\n  })`;
  const inside = `  const answer = await ${call};\n  console.log(await answer.text());\n`;
  const text = `async function main() {\n${inside}}\n\nmain();\n`;
  return { text: text.replaceAll("</", "<\\/").replaceAll("<!--", "\\u003c!--"), note: "copy.javascript" };
}

/** `pick`ed fields as keyword arguments, the others as one. */
function keywords(known, name, others) {
  const given = Object.keys(others).length ? { ...known, [name]: others } : known;
  return Object.entries(given)
    .map(([each, value]) => `    ${each}=${python(value, 4)},\n`)
    .join("");
}

function imports(key, modules, third) {
  const standard = [...modules, ...(key ? ["os"] : [])].map((module) => `import ${module}\n`);
  return `${standard.length ? `${standard.join("")}\n` : ""}${third}\n`;
}

function keyValue(key) {
  return key ? `os.environ["API_KEY"]` : `"none"`;
}

function pick(fields, names) {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => names.includes(name)));
}

function omit(fields, names) {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
}

/** A JSON string, which is valid in Python and JavaScript. */
function string(text) {
  return escaped(JSON.stringify(text));
}

function json(value, indent) {
  return escaped(JSON.stringify(value, null, indent));
}

function escaped(text) {
  return text.replace(UNSAFE, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function indented(text, spaces) {
  return text.replaceAll("\n", `\n${" ".repeat(spaces)}`);
}

const WORDS = new Map([
  [true, "True"],
  [false, "False"],
  [null, "None"],
]);

/** A JSON value as a Python expression that starts at `indent` spaces. */
function python(value, indent) {
  if (WORDS.has(value)) return WORDS.get(value);
  if (typeof value === "string") return string(value);
  if (typeof value === "number") return String(value);
  const inner = " ".repeat(indent + 4);
  const items = Array.isArray(value)
    ? value.map((each) => python(each, indent + 4))
    : Object.entries(value).map(([name, each]) => `${string(name)}: ${python(each, indent + 4)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  if (!items.length) return open + close;
  return `${open}\n${items.map((item) => `${inner}${item},\n`).join("")}${" ".repeat(indent)}${close}`;
}

/** A quoted shell word. */
function shell(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
