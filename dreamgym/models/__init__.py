"""V, M and C: torch modules that know neither Gymnasium nor any game."""
