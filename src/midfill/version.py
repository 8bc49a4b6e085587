"""The version, in a module of its own: the rooms below the engine may know it."""

__version__ = "0.1.0"
