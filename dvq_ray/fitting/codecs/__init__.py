"""The codecs that fits leave, one file each; `CODEC` in it is found under the file's name, which exports have."""
