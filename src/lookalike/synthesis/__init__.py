"""Generated pedestrians: new persons from seeds, and variations of real ones."""
