"""What a step of training reads: a pure function of configuration, seed and step.

There is no loader state. A step has a number of sequences (`ramp.py`), each takes the next of some
source (`mix.py`), which lies in a block of it (`deal.py`). A block is made of its documents
(`documents.py`), some of them rearranged (`holes.py`), when one of its sequences is wanted
(`source.py`, `block.py`), or before by other processes (`ahead.py`).
"""

from midfill.train.data.batch import IGNORED, Batch
from midfill.train.data.data import Data

__all__ = ["IGNORED", "Batch", "Data"]
