"""When a model is not to be trusted: pictures no rater would be asked about, thresholds, and how often they are met."""
