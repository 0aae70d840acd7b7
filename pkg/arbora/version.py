"""The one place that names the version; packaging reads it from here."""

__version__ = "0.1.0"

PROTOCOL_VERSIONS: tuple[int, ...] = (1,)
"""Session protocol versions that this build speaks, best first."""
