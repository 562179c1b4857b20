"""What `benchmarks/gpu_hour.py` measures."""
