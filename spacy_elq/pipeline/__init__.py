"""The spaCy component elq, its factory and its serialization."""
