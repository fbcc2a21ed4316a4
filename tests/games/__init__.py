"""Tests of `dreamgym/games`, and a third game to test the house with."""
