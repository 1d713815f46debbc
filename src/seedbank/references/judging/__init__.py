"""Measures of photos, alone and against each other, and the Great Expectations suites that judge them."""
