"""Readers, writers and converters of files of texts, linked or to be linked."""
