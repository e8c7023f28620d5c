"""Dumps of Wikipedia and Wikidata → parts of entities and texts."""
