/* Tables: a column's button sorts by it, and the other way round when pressed again. */
for (const button of document.querySelectorAll("table.sortable th.sort button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement, body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
    const value = line => line.cells[head.cellIndex].dataset.value;
    const text = line => line.cells[head.cellIndex].textContent.trim();
    const compare = (a, b) => value(a) === undefined ? text(a).localeCompare(text(b)) : value(a) - value(b);
    body.append(...[...body.rows].sort((a, b) => down * compare(a, b)));
  });
}
