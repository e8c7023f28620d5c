"""The model: encoder and heads, and trained weights."""
