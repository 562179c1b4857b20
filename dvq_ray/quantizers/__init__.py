"""The built-in quantizers, one file each; `QUANTIZER` in it is found under the file's name."""
