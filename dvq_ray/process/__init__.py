"""What a process has of its machine: a home, folders for temporary files and caches, and signals."""
