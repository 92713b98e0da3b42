"""What all batch systems share: one control loop, one job script, one way to tell what went wrong.

What differs per system is small and pure, and lives in a driver: the arguments of its commands, what their output means.
"""
