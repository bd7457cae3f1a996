"""How far apart two sets of images are: features, and distances between their distributions."""
