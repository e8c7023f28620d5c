"""Published ELQ checkpoints as pipelines, and their links in wordpieces."""
