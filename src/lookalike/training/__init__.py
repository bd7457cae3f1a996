"""What all three trainers share: the session, resume state, sampling, averaging, weights files."""
