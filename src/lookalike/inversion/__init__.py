"""From an image to the latent that makes the generator draw it."""
