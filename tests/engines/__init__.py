"""Tests of what makes M fast."""
