"""Suites of runs: records, tables, plots, pages."""
