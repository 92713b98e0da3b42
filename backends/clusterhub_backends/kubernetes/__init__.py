"""Kubernetes, through Dask's operator."""
