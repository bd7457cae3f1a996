"""StyleGAN3 (Karras et al. 2021, "Alias-Free Generative Adversarial Networks"), from the papers.

Canvases may be rectangular; on a CPU every filter runs as a product with a small banded matrix.
"""
