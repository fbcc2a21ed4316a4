"""Tests of dreamgym.models."""
