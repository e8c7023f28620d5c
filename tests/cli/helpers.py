"""Texts for the commands, and their links."""

ROWS = [
    {"text": "is Paris big", "spans": [{"start": 3, "end": 8, "id": "Q90"}]},
    {"text": "is Rome big", "spans": [{"start": 3, "end": 6, "id": "Q220"}]},
]
