// Makes calls with the real JavaScript clients. In: a JSON list of {client, url, call, args} on stdin, where a {"blob": base64, "type"} in args
// becomes a Blob. Out: a JSON list of what each call gave, {"value"} or {"error", "message"}; a Blob as {"blob", "type"}, a stream as {"chunks"}.
// CLIENTS in the environment names the folder whose node_modules has them.
import { createRequire } from "node:module";

const require = createRequire(process.env.CLIENTS + "/");
const { InferenceClient } = require("@huggingface/inference");
const { OpenAI } = require("openai");

const KEY = "hf_unused";

function unpacked(value) {
  if (value === null || typeof value !== "object") return value;
  if ("blob" in value) return new Blob([Buffer.from(value.blob, "base64")], value.type ? { type: value.type } : {});
  if (Array.isArray(value)) return value.map(unpacked);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unpacked(inner)]));
}

async function packed(value) {
  if (value instanceof Blob) return { blob: Buffer.from(await value.arrayBuffer()).toString("base64"), type: value.type };
  if (value instanceof Response) return packed(await value.blob());
  if (value !== null && typeof value === "object" && Symbol.asyncIterator in value) {
    const chunks = [];
    for await (const chunk of value) chunks.push(chunk);
    return { chunks };
  }
  return value;
}

async function made({ client, url, call, args }) {
  if (client === "huggingface") {
    const options = call === "textToImage" ? [{ outputType: "blob" }] : [];
    return new InferenceClient(KEY, { endpointUrl: url })[call](unpacked(args), ...options);
  }
  let at = new OpenAI({ baseURL: url, apiKey: KEY, maxRetries: 0 });
  const path = call.split(".");
  for (const name of path.slice(0, -1)) at = at[name];
  return at[path.at(-1)](unpacked(args));
}

let text = "";
for await (const piece of process.stdin) text += piece;
const answers = [];
for (const each of JSON.parse(text)) {
  try {
    answers.push({ value: await packed(await made(each)) });
  } catch (fault) {
    answers.push({ error: fault.constructor.name, message: String(fault.message) });
  }
}
console.log(JSON.stringify(answers));
