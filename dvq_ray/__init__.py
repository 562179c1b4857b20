"""Distributed sweeps of vector quantizers: VQ, depthwise VQ and their kin, from a YAML file to Parquet."""

__version__ = "0.1.0"
