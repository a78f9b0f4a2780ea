"""Tune any image-text model on records or scored pictures: LoRA, QLoRA, full tuning, rewards, merging."""
