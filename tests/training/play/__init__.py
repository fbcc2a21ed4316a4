"""Tests of `training/play`."""
