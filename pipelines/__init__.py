"""One thin entry point per DVC stage: parse, call, write. Run as `python -m pipelines.NAME`."""

from lookalike.processes import end_with_dvc

end_with_dvc()  # before anything that takes time: DVC may be killed at any moment
