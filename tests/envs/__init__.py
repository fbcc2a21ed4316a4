"""Tests of dreamgym.envs."""
