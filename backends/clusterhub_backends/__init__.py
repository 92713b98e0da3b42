"""The backends that come with clusterhub: one module or folder for each cluster manager, and nothing else knows it."""
