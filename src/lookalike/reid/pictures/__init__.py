"""What an evaluation looks like. Of the stages `evaluate` alone depends on it."""
