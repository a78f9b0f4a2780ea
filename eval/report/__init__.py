"""Reports: one HTML file without outside references, the same numbers as JSON, and a short Markdown."""
