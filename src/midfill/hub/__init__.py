"""From a model's name to files on this disk. Loads no torch; the hub's library only when used."""

from midfill.hub.catalogue import ModelEntry, default_model, entries, find
from midfill.hub.datasets import DataFile, dataset, datasets
from midfill.hub.progress import Progress, Report
from midfill.hub.pull import config_of, entry_of, on_disk, pull, pull_entry, resolve
from midfill.hub.store import cache_folder, check_writable, stored

__all__ = [
    "DataFile",
    "ModelEntry",
    "Progress",
    "Report",
    "cache_folder",
    "check_writable",
    "config_of",
    "dataset",
    "datasets",
    "default_model",
    "entries",
    "entry_of",
    "find",
    "on_disk",
    "pull",
    "pull_entry",
    "resolve",
    "stored",
]
