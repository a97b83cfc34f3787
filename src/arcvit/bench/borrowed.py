"""What rows have from a recipe that was written for another method. No torch.

``arc``, ``arc_att`` and ``arc_plus`` share a section: what a recipe says of one holds for all.
"""

from arcvit.bench.trials import Bench


def borrowed(bench: Bench) -> list[str]:
    """What is to be said of rows that have the size of another method, so that sizes compare."""
    task, notes = bench.suite.tasks[0], []
    written_for = bench.written_for(task)
    flags = {flag.partition("=")[0].removeprefix("--") for flag in bench.overrides}
    for row in bench.rows:
        spec, size = row.method.spec, row.method.spec.size
        if spec.section != written_for.section or spec.name == written_for.name or size is None:
            continue
        trials = bench.trials(row) or [bench.chosen(task, row)]
        if f"{spec.section}.{size}" in flags.union(row.method.settings, *trials):
            continue
        recipe = bench.recipe_for(task, task.path, row, bench.seeds[0])
        has, own = getattr(recipe.options, size), getattr(spec.make_options(), size)
        if has != own:
            notes.append(
                f"{row.name} has {size}={has}, as the recipe says for {written_for.name}; its own"
                f" is {own}: for that, name the row {row.method.label}:{size}={own}"
            )
    return notes
