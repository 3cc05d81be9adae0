// Embeddings with OpenAI's client: which sentence is closest to a question?
//
//     npm install
//     BASE_URL=http://localhost:7987 MODEL=all-minilm-l6-v2 node openai.mjs

import OpenAI from "openai";

const { BASE_URL = "http://localhost:7987", MODEL = "all-minilm-l6-v2", API_KEY = "none" } = process.env;

const question = "How do I reset my password?";
const sentences = [
  "Open the settings page and choose a new password.",
  "Our office is closed on public holidays.",
  "The weather is cold in winter.",
];

const client = new OpenAI({ baseURL: `${BASE_URL}/v1`, apiKey: API_KEY });
const answer = await client.embeddings.create({ model: MODEL, input: [question, ...sentences] });
const [questionVector, ...vectors] = answer.data.map((entry) => entry.embedding);

console.log(`${answer.data.length} vectors of ${questionVector.length} numbers, ${answer.usage.prompt_tokens} tokens`);
vectors.forEach((vector, index) => {
  // the vectors have length 1, so this sum is their cosine similarity
  const cosine = vector.reduce((sum, number, place) => sum + number * questionVector[place], 0);
  console.log(`${cosine.toFixed(4)}  ${sentences[index]}`);
});
