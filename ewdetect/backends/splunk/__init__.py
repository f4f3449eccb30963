"""Splunk: SPL over raw events."""

from ewdetect.backends.splunk.query import SplunkBackend

__all__ = ["SplunkBackend"]
