// Holds the model: one graph for all tasks, into which each adapter goes as further inputs.
import * as ort from "./runtime/ort.js";
import {answer} from "./answer.js";
import {decode, toInput} from "./pixels.js";

const at = name => new URL(name, import.meta.url);
const adapters = new Map();
let session;

async function bytes(name, tell = () => {}) {
  const answered = await fetch(at(name));
  if (!answered.ok) throw new Error(`${name} isn't there: the server says ${answered.status}.`);
  const parts = [];
  let loaded = 0;
  for (const reader = answered.body.getReader();;) {
    const {done, value} = await reader.read();
    if (done) break;
    parts.push(value);
    tell(loaded += value.length);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function load() {
  const index = JSON.parse(new TextDecoder().decode(await bytes("index.json")));
  postMessage({index});
  let told = 0;
  const shares = [0, 0];
  const share = k => count => {
    shares[k] = count;
    const loaded = shares[0] + shares[1];
    if (loaded - told > 2e5) postMessage({loaded: told = loaded});
  };
  const [runtime, graph] = await Promise.all([
    bytes("runtime/ort.wasm", share(0)), bytes(index.graph, share(1)),
  ]);
  postMessage({loaded: runtime.length + graph.length});
  ort.env.wasm.numThreads = 1;  // more need headers that plain servers don't send
  ort.env.wasm.wasmBinary = runtime;
  session = await ort.InferenceSession.create(graph, {executionProviders: ["wasm"]});
}

function adapter(name) {
  if (!adapters.has(name)) adapters.set(name, fetchAdapter(name).catch(error => {
    adapters.delete(name);  // to be asked for again
    throw error;
  }));
  return adapters.get(name);
}

async function fetchAdapter(name) {
  const file = `adapters/${encodeURIComponent(name)}`;
  const [text, values] = await Promise.all([bytes(`${file}.json`), bytes(`${file}.bin`)]);
  const {inputs, ...meaning} = JSON.parse(new TextDecoder().decode(text));
  const learned = Object.entries(inputs).map(([input, {dims, offset}]) => {
    const length = dims.reduce((product, n) => product * n, 1);
    return [input, new ort.Tensor("float32", new Float32Array(values.buffer, offset, length), dims)];
  });
  return {meaning, learned: Object.fromEntries(learned)};
}

async function predict(file, tasks, most) {
  const answers = [], inputs = new Map();
  for (const task of tasks) {
    const {meaning, learned, error} = await adapter(task).catch(error => ({error}));
    if (error) {
      answers.push({task, error: error.message});  // the others answer
      continue;
    }
    const {preprocessing} = meaning, key = JSON.stringify(preprocessing);
    if (!inputs.has(key)) {
      const bitmap = await decode(file, preprocessing);
      inputs.set(key, toInput(bitmap, preprocessing));
      bitmap.close();
    }
    const pixels = new ort.Tensor("float32", inputs.get(key), [1, 3, ...preprocessing.size]);
    await ready;
    const {logits, likeness} = await session.run({pixel_values: pixels, ...learned});
    answers.push({task, predictions: [answer(meaning, logits.data, likeness.data, most)]});
  }
  return answers;
}

const ready = load();
ready.then(() => postMessage({ready: true}), error => postMessage({failed: error.message}));
onmessage = async ({data: {id, file, tasks, most}}) => {
  try {
    postMessage({id, answers: await predict(file, tasks, most)});
  } catch (error) {
    postMessage({id, error: error.message});
  }
};
