"""Test sets in the layouts they are published in, as items."""
