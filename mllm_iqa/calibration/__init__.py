"""Scores on the user's own scale: a monotone map from MOS, learned from labels, with intervals that keep a promise."""

from .calibration import Calibration
from .fitting import calibrate
from .labels import Label, read_labels
from .store import load_calibration, save_calibration

__all__ = ["Calibration", "Label", "calibrate", "load_calibration", "read_labels", "save_calibration"]
