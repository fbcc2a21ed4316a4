"""Measuring: scores, examinations of V and M, speeds, films, and tables of results."""
