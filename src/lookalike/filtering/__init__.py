"""Which generated crops may join a training set: a cascade calibrated on real ones."""
