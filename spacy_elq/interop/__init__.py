"""Published ELQ checkpoints → pipelines, and the published way to cut texts and to count."""
