"""Figures and tables of priors over codes."""
