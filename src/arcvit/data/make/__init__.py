"""Make tasks: generated sprites, and VTAB-1k from its sources."""
