"""The only room of the hub that imports distributed: its scheduler, its event loop, its security.

Nothing is imported here, and ``scheduler`` and ``draining`` import distributed only when they are used: a backend's module
names ``NativeDeployment``, and listing the backends must not cost the import of Dask.
"""
