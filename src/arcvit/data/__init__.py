"""From a path to pixels.

What every wing knows lies here: a task, what may be wrong with one, the benchmarks' catalogue.
``check`` and ``make`` stand on ``readers`` and ``pixels``; of two side by side neither knows the
other.
"""
