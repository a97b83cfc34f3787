"""Hyperparameters chosen on the validation split."""
