"""The look of printed figures, and the parts that they are drawn from."""
