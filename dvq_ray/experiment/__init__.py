"""What an experiment is, and how its name leads to it."""
