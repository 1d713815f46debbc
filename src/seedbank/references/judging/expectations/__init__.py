"""The Great Expectations suites as files: what is expected of a concept's photos and of the chosen set."""
