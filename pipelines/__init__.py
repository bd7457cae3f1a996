"""One thin entry point per DVC stage: parse, call, write. Run as `python -m pipelines.NAME`."""
