"""Elastic: Lucene and ES|QL."""

from ewdetect.backends.elastic.query import ElasticBackend

__all__ = ["ElasticBackend"]
