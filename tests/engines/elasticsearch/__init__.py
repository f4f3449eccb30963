"""A real Elasticsearch node for tests: see README.md."""
