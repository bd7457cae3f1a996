"""Rendered pedestrians: who they are, how they are drawn, and which camera sees them."""
