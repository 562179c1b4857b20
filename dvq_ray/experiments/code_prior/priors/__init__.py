"""The priors, one file each. A new one is a new file with `PRIOR = TheClass`."""
