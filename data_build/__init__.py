"""Make training and test data: distortions, dataset readers, templated instructions, splits."""
