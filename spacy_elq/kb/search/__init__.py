"""Nearest-neighbour search over entity vectors."""
