"""Entity vectors kept by a Milvus server."""
