"""Bulk linking: any number of texts in bounded memory, in one process or several."""
