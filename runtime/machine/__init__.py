"""This machine: its devices, probed or measured, and the model files it holds."""
