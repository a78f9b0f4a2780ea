"""Measure models: predict, then score, then report."""
