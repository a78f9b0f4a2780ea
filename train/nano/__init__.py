"""Make `nano`, the model that ships with the package, from scratch: vision tower, crops, whole pictures."""
