"""Which of the 338 languages of DeepSeek-Coder-V2 a file is written in (appendix A of its paper).

`table.py` holds the names with what belongs to them, `detection.py` decides by name first and by
text where the name leaves a choice, `comments.py` writes the path comment of a document. The tables
`languages.json` and `rules.json` are made by `scripts/build_languages.py`.
"""

from midfill.corpus.languages.comments import comment
from midfill.corpus.languages.detection import Detection, detect
from midfill.corpus.languages.table import LANGUAGES, OUTSIDE, V1, Language

__all__ = [
    "LANGUAGES",
    "OUTSIDE",
    "V1",
    "Detection",
    "Language",
    "comment",
    "detect",
]
