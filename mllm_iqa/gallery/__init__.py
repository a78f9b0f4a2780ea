"""A folder's scores kept up to date, and shown as a page that needs nothing else."""
