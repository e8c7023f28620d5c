"""Readers, writers and converters of training, evaluation and entity files."""
