"""The files of a knowledge base: layout, locks, records and names."""
