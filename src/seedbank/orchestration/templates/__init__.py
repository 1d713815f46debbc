"""Templates of the review board's pages; a package so that they are installed with it."""
