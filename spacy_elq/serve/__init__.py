"""A linker over HTTP, with a page to try it: `python -m spacy elq serve`."""
