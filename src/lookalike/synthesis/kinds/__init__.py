"""Kinds of generated images, a module each, of the names of their sections under `generate`."""
