"""The report: one page of everything that was made of the stores, and of where it comes from."""
