"""The built-in experiments, a file or folder each; `EXPERIMENT` in it is found under the file's name."""
