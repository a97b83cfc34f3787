"""Tables, pictures and one page of what a bench has come to."""

from pathlib import Path

from arcvit.bench import against_views, pictures
from arcvit.bench.adapter_views import read_sites
from arcvit.bench.against import compare
from arcvit.bench.chosen import SETTINGS_FILE, settings_text
from arcvit.bench.collect import Collected, collect
from arcvit.bench.render import csv_text, html_tables, latex, markdown
from arcvit.bench.table import Row, table_rows
from arcvit.bench.worst import Worst, worst_task
from arcvit.core import shown
from arcvit.core.files import atomic_path, write_text
from arcvit.pages.page import data_uri, write_page


def write_report(folder: Path, out: Path, *, against: str | None = None) -> tuple[str, list[Path]]:
    """Write ``table.md``, ``table.csv``, ``table.tex`` and ``index.html``, and ``settings.yaml``.

    The settings are those that searches chose; ``arcvit bench --settings`` runs them again.

    Args:
        folder: what ``arcvit bench`` wrote.
        out: where to write.
        against: a row that the others are compared with, in ``against.md`` and ``against.png``.

    Returns:
        The tables as Markdown, and the files.

    Raises:
        UserError: the folder is none of a bench, no run has finished, or there is no such row.
    """
    collected = collect(folder)
    rows = table_rows(collected)
    warnings = _warnings(collected)
    notes = _notes(collected)
    table = markdown(rows, warnings) + "".join(f"- {shown.markdown(note)}\n" for note in notes)
    compared = [] if against is None else compare(collected, against)
    texts = {
        "table.md": table,
        "table.csv": csv_text(rows, warnings),
        "table.tex": latex(rows, warnings),
    }
    if collected.chosen:
        texts[SETTINGS_FILE] = settings_text(collected.chosen)
    leading: list[tuple[str, bytes, str]] = []
    if against is not None:
        texts["against.md"] = against_views.table(compared, against, notes)
        table += "\n" + texts["against.md"]
        image = against_views.picture(compared, against)
        with atomic_path(out / "against.png") as partial:
            partial.write_bytes(image)
        leading = [(f"Accuracy against numbers trained, beside {against}", image, ". ".join(notes))]
    for name, text in texts.items():
        write_text(out / name, text)
    _write_page(out / "index.html", collected, rows, warnings, leading)
    pictured = () if against is None else ("against.png",)
    return table, [out / name for name in (*texts, *pictured, "index.html")]


def _write_page(
    file: Path,
    collected: Collected,
    rows: list[Row],
    warnings: list[str],
    leading: list[tuple[str, bytes, str]],
) -> None:
    best, metric = _best_row(rows), " and ".join(collected.metrics())
    metric = metric[:1].upper() + metric[1:] if metric != "mAP" else metric
    worst = worst_task(collected, best)
    views = [
        *leading,
        (f"{metric} against parameters", pictures.accuracy_against_size(rows, metric), ""),
        ("Difference to the linear probe", pictures.difference_to_linear(rows), ""),
        ("Learning curves", pictures.learning_curves(collected), "First seed."),
        *_adapter_pictures(collected),
        *_confusion(worst),
    ]
    results = [run.result for runs in collected.runs.values() for run in runs]
    first = results[0]
    write_page(
        file,
        "bench.html.j2",
        suite=collected.suite,
        metric=metric,
        tables=html_tables(rows),
        warnings=warnings,
        pictures=[
            {"title": title, "image": data_uri(image, "image/png"), "note": note}
            for title, image, note in views
            if image is not None
        ],
        worst=worst,
        backbones=sorted({result.backbone for result in results}),
        presets=sorted({result.preset for result in results}),
        rules=sorted({result.selection for result in results}),
        epochs=sorted({result.epochs for result in results}),
        seeds=sorted({result.seed for result in results}),
        published=any(row.published for row in rows),
        version=first.arcvit_version,
        versions=", ".join(f"{name} {number}" for name, number in first.versions.items()),
    )


def _adapter_pictures(collected: Collected) -> list[tuple[str, bytes, str]]:
    """Of the first finished run of ARC: coefficients and singular values."""
    for row in collected.rows:
        for task in collected.tasks:
            runs = collected.runs.get((task, str(row)), ())
            sites = read_sites(runs[0].folder) if runs else []
            if sites:
                where = f"{row}, {task}, seed {runs[0].result.seed}."
                update = "D diag(c) U, which folding multiplies onto the weights."
                return [
                    ("Re-scaling coefficients by site", pictures.coefficients(sites), where),
                    (
                        "Singular values of the folded update",
                        pictures.singular_values(sites),
                        f"{where} {update}",
                    ),
                ]
    return []


def _confusion(worst: Worst | None) -> list[tuple[str, bytes, str]]:
    if worst is None:
        return []
    title = f"{worst.task}, {worst.row}"
    picture = pictures.confusion(worst.measured.counts, worst.measured.classes, title)
    told = f"{worst.task}, by the best row, {worst.row}, seed {worst.seed}."
    return [("Confusion on the worst task", picture, told)]


def _best_row(rows: list[Row]) -> str:
    """Ours with the highest mean; where no row has all tasks, the last one."""
    ours = [row for row in rows if not row.published]
    complete = [(row.mean.mean, row.label) for row in ours if row.mean is not None]
    return max(complete)[1] if complete else [row for row in ours if row.seeds][-1].label


def _notes(collected: Collected) -> list[str]:
    """What is to be known of the rows: metrics, sizes that were chosen, searches at an edge."""
    notes, metrics = list(collected.notes), collected.metrics()
    if list(metrics) != ["accuracy"]:
        named = " and ".join(f"{name} of {', '.join(tasks)}" for name, tasks in metrics.items())
        notes.append(f"measured is {named}" + (": no mean over both" if len(metrics) > 1 else ""))
    if collected.edges:
        where = ", ".join(f"{row} on {task}" for task, row in collected.edges)
        notes.append(
            f"the best rate is the lowest or highest tried in {len(collected.edges)} searches, so"
            f" that others may be better: {where}"
        )
    return notes


def _warnings(collected: Collected) -> list[str]:
    found = []
    if collected.ended is not None:
        found.append(
            f"the last arcvit bench here {collected.ended.rstrip('.')}: the same command goes on"
        )
    found += [f"{task}: {text}" for task, texts in collected.warnings.items() for text in texts]
    cells = [(task, str(row)) for task in collected.tasks for row in collected.rows]
    empty = [cell for cell in cells if cell not in collected.runs]
    reasons: dict[str, list[str]] = {}
    for (task, row), reason in collected.failures.items():
        reasons.setdefault(reason, []).append(f"{row} on {task}")
    found += [f"{', '.join(where)} failed: {reason}" for reason, where in reasons.items()]
    if empty:
        found.append(
            f"{len(empty)} of {len(cells)} cells have no finished run; a mean over tasks is given"
            " where all of them have finished"
        )
    return found
