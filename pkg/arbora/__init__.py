"""Arbora: what clients, hub and agent share."""

from arbora.version import __version__

__all__ = ["__version__"]
