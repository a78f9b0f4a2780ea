"""The chat page: pictures in, scores, comparisons, rankings and answers out, in the browser. Needs the extra `ui`."""

from .intake import Limits
from .models import Models
from .page import build_ui, mount_ui

__all__ = ["Limits", "Models", "build_ui", "mount_ui"]
