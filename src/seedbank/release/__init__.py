"""Releases: published once, signed, verifiable and replayable from the folder alone."""
