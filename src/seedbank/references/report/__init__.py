"""The page that shows a steward every photo, its measures and why it is in or out."""
