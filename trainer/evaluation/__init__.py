"""Evaluation of runs and exports: scores, metrics, slices, plots and tables."""
