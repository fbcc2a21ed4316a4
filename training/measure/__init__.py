"""What came of it: scores, examinations of V and M, speeds, films and tables."""
