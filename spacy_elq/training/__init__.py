"""Targets, losses and one training step."""
