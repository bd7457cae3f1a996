"""A profile's pipeline at its true sizes for a few steps: does it run, what will it take?"""
