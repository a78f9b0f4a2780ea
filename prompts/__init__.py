"""Every word said to or expected from a model, as files."""
