"use strict";

/* The confusion matrix. */

const { classes, counts, photos } = JSON.parse(document.getElementById("confusion").textContent);
const row = new Map();       // true class -> predicted class -> images
for (const [truth, answer, images] of counts) {
  if (!row.has(truth)) row.set(truth, new Map());
  row.get(truth).set(answer, images);
}
const count = (truth, answer) => row.get(truth)?.get(answer) ?? 0;
const support = classes.map((_, k) => [...(row.get(k)?.values() ?? [])].reduce((a, b) => a + b, 0));
const mistakes = classes.map((_, k) => support[k] - count(k, k));
for (const [truth, answer, images] of counts) if (truth !== answer) mistakes[answer] += images;

const FEW = 30, MOST = 200;
const order = document.getElementById("order");
const limit = document.getElementById("limit");
const matrix = document.getElementById("matrix");
const panel = document.getElementById("cell");

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function shownClasses() {
  const places = classes.map((_, k) => k);
  const byMistakes = [...places].sort((a, b) => mistakes[b] - mistakes[a] || a - b);
  const kept = new Set(byMistakes.slice(0, Number(limit.value)));
  const sorted = { given: places, name: [...places].sort((a, b) => classes[a].localeCompare(classes[b])),
                   mistakes: byMistakes }[order.value];
  return sorted.filter(k => kept.has(k));
}

function told(truth, answer) {
  const images = count(truth, answer);
  const what = `${images} ${images === 1 ? "photo" : "photos"} of ${classes[truth]}`;
  return truth === answer ? `${what}, taken for what they are` : `${what} taken for ${classes[answer]}`;
}

function draw() {
  const shown = shownClasses();
  const head = element("tr", {}, element("th", { scope: "col" }, "true ↓ taken for →"));
  for (const k of shown) head.append(element("th", { scope: "col", title: classes[k] }, element("span", {}, classes[k])));
  const body = element("tbody");
  for (const truth of shown) {
    const line = element("tr", {}, element("th", { scope: "row", title: classes[truth] }, classes[truth]));
    for (const answer of shown) {
      const images = count(truth, answer);
      const cell = element("td", { tabindex: -1, "data-cell": `${truth},${answer}` });
      if (images) {
        const share = images / support[truth];
        const strength = truth === answer ? share : Math.min(1, .15 + Math.sqrt(share));
        cell.style.background = `rgb(var(--${truth === answer ? "right" : "wrong"}-rgb) / ${strength.toFixed(3)})`;
        cell.style.color = strength > .72 ? "#fff" : "inherit";
        cell.dataset.n = images;
        cell.title = told(truth, answer);
        cell.setAttribute("aria-label", told(truth, answer));
        cell.append(String(images));
      }
      line.append(cell);
    }
    body.append(line);
  }
  const table = element("table", { role: "grid", "aria-label": "Images by true and predicted class" },
                        element("thead", {}, head), body);
  matrix.replaceChildren(table);
  table.querySelector("td")?.setAttribute("tabindex", 0);
}

function show(key) {
  const [truth, answer] = key.split(",").map(Number);
  const images = count(truth, answer);
  if (!images) return;
  const found = photos[key] ?? [];
  const part = found.length && found.length < images ? ` (${found.length} shown)` : "";
  const list = element("div", { class: "photos" });
  for (const [source, path, probability] of found) {
    list.append(element("figure", {},
      element("img", { src: source, alt: told(truth, answer), title: path }),
      element("figcaption", {}, `${Math.round(100 * probability)} % sure`)));
  }
  if (!found.length) list.append(element("p", { class: "note" }, "No photos of these are on this page."));
  panel.replaceChildren(element("h3", {}, told(truth, answer) + part), list);
  panel.hidden = false;
  for (const cell of matrix.querySelectorAll("td.chosen")) cell.classList.remove("chosen");
  matrix.querySelector(`td[data-cell="${key}"]`)?.classList.add("chosen");
}

function reveal(key) {
  show(key);
  panel.scrollIntoView({ block: "nearest" });
}

matrix.addEventListener("click", event => {
  const cell = event.target.closest("td[data-n]");
  if (cell) { focus(cell); reveal(cell.dataset.cell); }
});

function focus(cell) {
  matrix.querySelector('td[tabindex="0"]')?.setAttribute("tabindex", -1);
  cell.setAttribute("tabindex", 0);
  cell.focus({ preventScroll: false });
}

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
                Home: [0, -Infinity], End: [0, Infinity] };
matrix.addEventListener("keydown", event => {
  const cell = event.target.closest("td");
  if (!cell) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    reveal(cell.dataset.cell);
  } else if (event.key in STEPS) {
    event.preventDefault();
    const [down, across] = STEPS[event.key];
    const lines = cell.parentElement.parentElement.rows;
    const within = (place, size) => Math.max(0, Math.min(size - 1, place));
    const line = lines[within(cell.parentElement.rowIndex - 1 + down, lines.length)];
    focus(line.cells[1 + within(cell.cellIndex - 1 + across, line.cells.length - 1)]);
  }
});

for (const button of document.querySelectorAll("button[data-cell]")) {
  button.addEventListener("click", () => reveal(button.dataset.cell));
}

const choices = [FEW, Math.min(MOST, classes.length)].filter((n, i) => n < classes.length || i === 1);
for (const n of choices) {
  const all = n === classes.length;
  limit.append(element("option", { value: n }, all ? `all ${n}` : `the ${n} with most mistakes`));
}
document.getElementById("limit-label").hidden = choices.length < 2;
document.querySelector(".controls").hidden = false;
order.addEventListener("change", draw);
limit.addEventListener("change", draw);
draw();
