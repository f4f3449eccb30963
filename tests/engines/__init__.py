"""Engines that run what the converter prints."""
