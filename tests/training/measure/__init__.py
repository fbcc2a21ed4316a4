"""Tests of `training/measure`."""
