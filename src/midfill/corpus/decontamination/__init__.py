"""Files that hold benchmark text are found and dropped: DeepSeek-Coder section 2.4."""

from midfill.corpus.decontamination.held_out import held_out
from midfill.corpus.decontamination.index import Index
from midfill.corpus.decontamination.items import Item
from midfill.corpus.decontamination.scan import Hit, scan
from midfill.corpus.decontamination.stage import Report, decontaminate, frequencies

__all__ = ["Hit", "Index", "Item", "Report", "decontaminate", "frequencies", "held_out", "scan"]
