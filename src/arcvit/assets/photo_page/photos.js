"use strict";
// Photos in, labels out: the page of a server and of a static folder. Who answers is said by a
// script after this one, which calls showTasks and defines
//   async predict(file, tasks): [{task, predictions: [{label, labels, known, top}]}], MOST labels,
// or {task, error} of a task that can't answer.
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
let waiting = Promise.resolve();

// Of each task its name, whether it is off, and the reason.
function showTasks(tasks) {
  const there = tasks.filter(task => !task.off), chosen = new Set(picked()), first = !boxes().length;
  at("tasks").replaceChildren();
  tasks.forEach(task => {
    const label = put(at("tasks"), "label", undefined, task.off ? "off" : "");
    const box = put(label, "input");
    box.type = "checkbox";
    box.value = task.name;
    box.disabled = task.off;
    box.checked = !task.off && (first ? there.length <= MANY || task === there[0] : chosen.has(task.name));
    label.title = task.reason;
    put(label, "span", task.name);
  });
  at("filter").hidden = tasks.length <= MANY;
  narrow();
  count();
}

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
    // One after another: many photos at once would be too many.
    waiting = waiting.then(() => answer(file, tasks, all));
  });
}

async function answer(file, tasks, all) {
  try {
    if (!tasks.length) throw new Error("Choose a task first.");
    const answers = await predict(file, tasks);
    all.replaceChildren();
    answers.forEach(one => {
      const part = put(all, "section");
      put(part, "h3", one.task);
      if (one.error) return void put(part, "p", one.error, "warning");
      const prediction = one.predictions[0];
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
