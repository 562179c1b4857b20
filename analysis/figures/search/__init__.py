"""What is made of the store of a search: its history, its fields, its best points."""
