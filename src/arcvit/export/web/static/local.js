"use strict";
// After photos.js: the model answers in this browser, in a thread of its own.
const megabytes = count => `${(count / 1e6).toFixed(1)} MB`;
const asked = new Map();
let total = 0;

// From a blob, so that what the page may do holds for the worker too: of a worker from a file the
// browser asks the server's headers alone.
const source = `import ${JSON.stringify(new URL("worker.js", location.href).href)};`;
const worker = new Worker(URL.createObjectURL(new Blob([source], {type: "text/javascript"})), {type: "module"});
worker.onerror = () => say("This browser can't run the model: it needs WebAssembly and OffscreenCanvas, as since 2023.");
worker.onmessage = ({data}) => {
  if (data.index) list(data.index);
  else if (data.failed) say(data.failed);
  else if (data.loaded) say(`Loading the model: ${megabytes(data.loaded)} of ${megabytes(total)}…`);
  else if (data.ready) say("Nothing leaves this device: the model runs in the browser.");
  else {
    const {resolve, reject} = asked.get(data.id);
    asked.delete(data.id);
    data.error ? reject(new Error(data.error)) : resolve(data.answers);
  }
};
const say = text => { at("state").textContent = text; };

function predict(file, tasks) {
  return new Promise((resolve, reject) => {
    const id = crypto.getRandomValues(new Uint32Array(1))[0];
    asked.set(id, {resolve, reject});
    worker.postMessage({id, file, tasks, most: MOST});
  });
}

function list({tasks, bytes}) {
  total = bytes;
  at("ask").hidden = false;
  showTasks(tasks.map(({name}) => ({name, off: false, reason: ""})));
  tasks.forEach(task => {
    const row = put(at("adapters"), "tr");
    put(row, "td", task.name, "text");
    put(row, "td", task.labels);
    put(row, "td", task.kind === "multilabel" ? "any number" : "one", "text");
    put(row, "td", `${Math.ceil(task.bytes / 1e3)} KB`);
  });
}
