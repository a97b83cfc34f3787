"""From a path to pixels.

What every wing knows lies here: a task, what may be wrong with one, the benchmarks' catalogue. The
wings import only to the right: ``make`` and ``check``, which do not know each other, then ``pixels``
and ``readers``.
"""
