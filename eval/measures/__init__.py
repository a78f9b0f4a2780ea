"""From rows of a predictions file to figures, tables and charts. Nothing here knows a model."""
