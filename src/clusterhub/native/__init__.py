"""Any object of Dask's own cluster interface as a deployment that keeps the contract."""

from clusterhub.native.deployment import NativeDeployment

__all__ = ["NativeDeployment"]
