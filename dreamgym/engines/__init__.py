"""Fast computation of M's step. PyTorch alone is the reference for it."""
