"""Tests of the playable dream: the page, and what it computes."""
