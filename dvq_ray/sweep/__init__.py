"""A sweep: its file and every error in it, the cells that the file names, and how far a store has come with them."""
