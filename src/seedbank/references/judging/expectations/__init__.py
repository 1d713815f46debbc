"""The Great Expectations suites as files: what is expected of the photos of a pool and of the chosen set."""
