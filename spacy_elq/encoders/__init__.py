"""Texts and entities as vectors: wordpiece windows, question encoders, entity encoder."""
