"""What clusterhub costs on top of the native thing, measured side by side: ``python -m benchmarks``."""
