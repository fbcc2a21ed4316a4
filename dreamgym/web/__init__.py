"""The page of the playable dream: its JavaScript, its style and its kernel."""
