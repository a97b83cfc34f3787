"""The flags of a recipe as text, from the dataclasses that define it (jsonargparse)."""

from jsonargparse import SUPPRESS, ArgumentParser

from arcvit.methods.table import methods
from arcvit.recipe.recipe import Recipe


def recipe_help() -> str:
    """Every field as a flag, with its meaning, type and default; then the methods."""
    every = methods().values()
    width = max(len(spec.name) for spec in every)
    lines = [f"  {spec.name:<{width}}  {spec.lr:<7g} {spec.summary}" for spec in every]
    parser = ArgumentParser(usage=SUPPRESS, add_help=False, print_config=None)
    parser.add_class_arguments(Recipe, as_group=False, skip={"options"})
    for section, options in {spec.section: spec.options for spec in every}.items():
        parser.add_class_arguments(options, section)
    flags = parser.format_help().splitlines(keepends=True)
    # jsonargparse would take a file for a section; recipes have --config for that.
    flags = [line for line in flags if not line.endswith("Path to a configuration file.\n")]
    return (
        "methods, their default learning rates (docs/defaults.md says how they were chosen), and\n"
        "what they train beside the head:\n" + "\n".join(lines) + "\n\n" + "".join(flags)
    )
