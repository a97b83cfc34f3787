"use strict";
// Names and sentences are put in as text, never as markup: they come from files and clients.
const MANY = 8, TOP = 3, MOST = 20;
const at = id => document.getElementById(id);
const put = (parent, tag, text, kind) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return parent.appendChild(made);
};
const percent = share => `${(100 * share).toFixed(1)}\u2009%`;
const stored = name => { try { return sessionStorage.getItem(name); } catch { return null; } };
let token = stored("token"), waiting = Promise.resolve();

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

function show(tasks) {
  const there = tasks.filter(canAnswer), chosen = new Set(picked()), first = !at("tasks").children.length;
  const off = tasks.length - there.length;
  at("state").textContent = `${there.length} task${there.length === 1 ? "" : "s"} on one backbone`
    + (off ? `; ${off} more can't be asked.` : ".");
  at("tasks").replaceChildren();
  at("adapters").replaceChildren();
  tasks.forEach(task => {
    const label = put(at("tasks"), "label", undefined, canAnswer(task) ? "" : "off");
    const box = put(label, "input");
    box.type = "checkbox";
    box.value = task.name;
    box.disabled = !canAnswer(task);
    box.checked = !box.disabled && (first ? there.length <= MANY || task === there[0] : chosen.has(task.name));
    label.title = task.reason;
    put(label, "span", task.name);
    const row = put(at("adapters"), "tr"), marks = [task.state];
    if (task.resident) marks.push("on the device");
    if (task.pinned) marks.push("pinned");
    if (task.folded) marks.push("folded");
    put(row, "td", task.name, "text");
    put(row, "td", task.version ?? "–");
    put(row, "td", task.labels ? task.labels.length : "–");
    put(row, "td", marks.join(", ") + (task.reason ? `: ${task.reason}` : ""), "text");
  });
  at("filter").hidden = tasks.length <= MANY;
  narrow();
  count();
}

const canAnswer = task => task.version !== null && ["ready", "registered"].includes(task.state);
const boxes = () => [...at("tasks").querySelectorAll("input")];
const picked = () => boxes().filter(box => box.checked).map(box => box.value);
const count = () => { at("chosen").textContent = `${picked().length} chosen`; };
const narrow = () => boxes().forEach(box => {
  box.parentElement.hidden = !box.value.toLowerCase().includes(at("filter").value.toLowerCase());
});
const choose = on => {
  boxes().forEach(box => { if (!box.disabled && !box.parentElement.hidden) box.checked = on; });
  count();
};

function photos(files) {
  const tasks = picked();
  at("said").hidden = false;
  [...files].forEach(file => {
    const card = document.createElement("article");
    card.className = "answer";
    at("answers").prepend(card);
    const figure = put(card, "figure"), image = put(figure, "img");
    image.alt = "";
    image.onload = image.onerror = event => {
      URL.revokeObjectURL(image.src);
      image.hidden = event.type === "error";  // some formats are read by the server alone
    };
    image.src = URL.createObjectURL(file);
    put(figure, "figcaption", file.name);
    const all = put(card, "div", undefined, "all");
    put(all, "p", "…", "note");
    // One after another: many photos at once would be refused as too many.
    waiting = waiting.then(() => answer(file, tasks, all));
  });
}

async function answer(file, tasks, all) {
  try {
    if (!tasks.length) throw new Error("Choose a task first.");
    const query = new URLSearchParams({tasks: tasks.join(","), top: MOST}), form = new FormData();
    form.append("image", file);
    const said = await ask(`v1/predict?${query}`, form);
    all.replaceChildren();
    Object.values(said.tasks).forEach(one => {
      const prediction = one.predictions[0], part = put(all, "section");
      put(part, "h3", one.task);
      const best = put(part, "p", undefined, "best");
      if (prediction.known === false) {
        put(best, "span", "unknown", "unknown");
        part.className = "unknowns";
        put(part, "p", `Like none of its classes; the nearest is ${prediction.label}.`, "note");
      } else put(best, "span", prediction.labels.join(", ") || "none of its labels");
      const bars = put(part, "dl", undefined, "bars");
      prediction.top.slice(0, Math.max(TOP, prediction.labels.length)).forEach(({label, probability}) => {
        put(bars, "dt", label).title = label;
        const meter = put(put(bars, "dd"), "meter");
        meter.value = probability;
        meter.setAttribute("aria-label", label);
        put(bars, "dd", percent(probability));
      });
    });
  } catch (error) {
    all.replaceChildren();
    put(all, "p", error.message, "warning");
  }
}

at("token").addEventListener("submit", event => {
  event.preventDefault();
  token = at("secret").value;
  try { sessionStorage.setItem("token", token); } catch { /* kept until the page is closed */ }
  start();
});
["choose", "take"].forEach(id => at(id).addEventListener("change", ({target}) => {
  photos(target.files);
  target.value = "";
}));
const inside = on => at("drop").classList.toggle("over", on);
addEventListener("dragover", event => { event.preventDefault(); inside(true); });
addEventListener("dragleave", event => { if (!event.relatedTarget) inside(false); });
addEventListener("drop", event => {
  event.preventDefault();
  inside(false);
  photos(event.dataTransfer.files);
});
addEventListener("paste", event => { if (event.clipboardData.files.length) photos(event.clipboardData.files); });
at("filter").addEventListener("input", narrow);
at("tasks").addEventListener("change", count);
at("all").addEventListener("click", () => choose(true));
at("none").addEventListener("click", () => choose(false));
document.querySelector("details").addEventListener("toggle", start);
start();
