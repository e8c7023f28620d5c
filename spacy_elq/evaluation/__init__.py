"""Scores, curves, error analysis and reports."""
