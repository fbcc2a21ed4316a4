"""Tests of dreamgym: the folders mirror the source."""
