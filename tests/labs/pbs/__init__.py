"""A stand-in for PBS: its commands, answering as a recorded OpenPBS does, with real processes behind them."""
