"""Tests of dreamgym.training."""
