"""The page of a reference set."""
