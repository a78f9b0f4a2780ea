"""Compose a new model of an OpenCLIP vision tower, a projector and a language model, as a stock checkpoint."""
