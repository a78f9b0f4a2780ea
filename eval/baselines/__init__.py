"""Classical and deep metrics of others, through maintained libraries, beside our models."""
