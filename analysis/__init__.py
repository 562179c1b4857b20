"""What the stores say: figures, each drawn only from cells that are all there."""
