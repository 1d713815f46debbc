"""Reference photos: intake, rights, measures, and the frozen reference set."""
