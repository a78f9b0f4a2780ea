"""Foresee what a recipe takes from configurations alone: parameters, memory, tokens, steps."""
