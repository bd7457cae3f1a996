"""Train person re-identification models on real and StyleGAN3-made pedestrians."""

__version__ = "0.1.0"
