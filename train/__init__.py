"""Train and fine-tune: losses, collation, the training loop, adapters, recipes."""
