"use strict";
// After photos.js: asks the server that the page came from.
const stored = name => { try { return sessionStorage.getItem(name); } catch { return null; } };
let token = stored("token");

async function ask(path, body) {
  const headers = token ? {Authorization: `Bearer ${token}`} : {};
  let answer, said;
  try {
    answer = await fetch(path, {method: body ? "POST" : "GET", headers, body});
    said = await answer.json();
  } catch {
    throw new Error("The server doesn't answer.");
  }
  if (answer.status === 401) at("token").hidden = false;
  if (!answer.ok) throw new Error(said.error);
  return said;
}

async function predict(file, tasks) {
  const query = new URLSearchParams({top: MOST}), form = new FormData();
  tasks.forEach(task => query.append("tasks", task));
  form.append("image", file);
  const said = (await ask(`v1/predict?${query}`, form)).tasks;
  return tasks.map(task => ({task, ...said[task]}));
}

async function start() {
  try {
    const {tasks} = await ask("v1/tasks");
    at("token").hidden = true;
    at("ask").hidden = false;
    show(tasks);
  } catch (error) {
    at("state").textContent = error.message;
  }
}

const canAnswer = task => task.version !== null && ["ready", "registered"].includes(task.state);

function show(tasks) {
  const there = tasks.filter(canAnswer), off = tasks.length - there.length;
  at("state").textContent = `${there.length} task${there.length === 1 ? "" : "s"} on one backbone`
    + (off ? `; ${off} more can't be asked.` : ".");
  showTasks(tasks.map(task => ({name: task.name, off: !canAnswer(task), reason: task.reason})));
  at("adapters").replaceChildren();
  tasks.forEach(task => {
    const row = put(at("adapters"), "tr"), marks = [task.state];
    if (task.resident) marks.push("on the device");
    if (task.pinned) marks.push("pinned");
    if (task.folded) marks.push("folded");
    put(row, "td", task.name, "text");
    put(row, "td", task.version ?? "–");
    put(row, "td", task.labels ? task.labels.length : "–");
    put(row, "td", marks.join(", ") + (task.reason ? `: ${task.reason}` : ""), "text");
  });
}

at("token").addEventListener("submit", event => {
  event.preventDefault();
  token = at("secret").value;
  try { sessionStorage.setItem("token", token); } catch { /* kept until the page is closed */ }
  start();
});
document.querySelector("details").addEventListener("toggle", start);
start();
