"""Measured claims, each one command, and the demo."""
