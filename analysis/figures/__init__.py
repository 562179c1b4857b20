"""All figures and tables, by experiment."""
