"""Models that finished cells keep: what a sweep learned, to be used without it."""
