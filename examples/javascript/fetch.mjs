// Reranking without a client library. The same code runs in a browser if CORS_ORIGINS contains the origin of the page.
//
//     BASE_URL=http://localhost:7987 MODEL=all-minilm-l6-v2 node fetch.mjs

const { BASE_URL = "http://localhost:7987", MODEL = "all-minilm-l6-v2", API_KEY = "" } = process.env;

const query = "What is machine learning?";
const documents = [
  "Today is a beautiful sunny day.",
  "Machine learning is a branch of artificial intelligence.",
  "Deep learning is a method of machine learning.",
];

const response = await fetch(`${BASE_URL}/v1/rerank`, {
  method: "POST",
  headers: { "Content-Type": "application/json", ...(API_KEY && { Authorization: `Bearer ${API_KEY}` }) },
  body: JSON.stringify({ model: MODEL, query, documents, top_n: 2 }),
});
const answer = await response.json();
if (!response.ok) throw new Error(answer.error.message);

for (const { index, relevance_score } of answer.results) {
  console.log(`${relevance_score.toFixed(4)}  ${documents[index]}`);
}
