"""Serve the assistant to others: HTTP service, chat page, batch scoring."""
