"""Engines that run a model: each gives candidates' log-probs and generated text."""
