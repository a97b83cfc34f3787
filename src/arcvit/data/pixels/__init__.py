"""Decode images once, keep them, and turn batches of them into what a model takes."""
