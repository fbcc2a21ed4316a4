"""Playing: policies, the dreams and real games they play in, and the worker processes."""
