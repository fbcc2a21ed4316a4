"""How M's step is computed fast; PyTorch alone is the reference."""
