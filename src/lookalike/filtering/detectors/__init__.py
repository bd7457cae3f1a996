"""Detectors, a module each, by the names that `filter.detector` gives them."""
