"""Clusters on Kubernetes, which Dask's operator brings about."""
