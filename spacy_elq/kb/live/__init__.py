"""Changes to a knowledge base that is in use."""
