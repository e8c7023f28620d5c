"""Entity records, and the files that they are read from."""
