"""Whether two mathematical answers are the same: our own normaliser first, then `math-verify`.

The normaliser knows numbers (fractions, decimals, percent, thousands separators, powers of ten),
units and prose around a number, tuples, intervals, sets and lists. What it cannot decide, such as
algebra, is given to `math-verify` (extra `evaluate`), which answers with sympy.
"""

import atexit
import re
from fractions import Fraction

from midfill.evaluate.algebra import Algebra

LONGEST = 2_000  # characters of an answer; none that is right is nearly as long
_WRAPPERS = re.compile(
    r"\\(?:text|mathrm|textbf|textit|mbox|mathbf|operatorname|boxed)\s*\{([^{}]*)\}"
)
_SPACES = re.compile(r"\\[,;:!> ]|\\q?quad\b|\\(?:left|right|displaystyle|big|Big)\b|~")
_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_POWER = r"(?:\s*\^\s*\{?[23]\}?)?"
# a unit in \text{} or in words behind a number, the hour of a day not among them
_UNIT_TEXT = re.compile(
    rf"(?<=[\d}})])\s*\\(?:text|mathrm|mbox)\s*\{{(?!\s*[ap]\.?m)[^{{}}]*\}}{_POWER}\s*$"
)
_UNIT_WORDS = re.compile(
    rf"(?<=[\d)}}])(?:\s*(?:cm|mm|km|kg|ft|mph|g|m)|(?:\s+(?![ap]\.?m)[A-Za-z]{{2,}})+)\b\.?{_POWER}$"
)
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)")
_THOUSANDS = re.compile(r"(?<![\d.])(\d{1,3})((?:,\d{3})+)(?![\d])")


def last_boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{...}` whose braces balance, or behind `\boxed ` without."""
    for match in reversed(list(re.finditer(r"\\f?box(?:ed)?(?![A-Za-z])\s*", text))):
        rest = text[match.end() :]
        if not rest.startswith("{"):
            if rest and (bare := re.match(r"[^\s$.,]+(?:\.\d+)?", rest)):
                return bare[0]
            continue
        depth = 0
        for end, letter in enumerate(rest):
            depth += (letter == "{") - (letter == "}")
            if depth == 0:
                return rest[1:end].strip()
    return None


def last_number(text: str) -> str | None:
    """The last number of a text, without its thousands separators."""
    numbers = _NUMBER.findall(_THOUSANDS.sub(lambda m: m[0].replace(",", ""), text))
    return numbers[-1].rstrip(".") if numbers else None


def normalised(answer: str) -> str:
    """An answer without the ways of writing that do not change it."""
    text = answer.strip().strip("$").strip()
    text = re.sub(r"\\\(|\\\)|\\\[|\\\]", "", text)
    text = _UNIT_TEXT.sub("", text)
    while (plain := _WRAPPERS.sub(r" \1 ", text)) != text:
        text = plain
    text = _SPACES.sub(" ", text).replace("\\$", "").replace("$", "").replace("−", "-")
    text = re.sub(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ)|°", "", text)
    text = _THOUSANDS.sub(lambda m: m[0].replace(",", ""), text.replace("{,}", ","))
    while (plain := _FRACTION.sub(_divided, text)) != text:
        text = plain
    text = re.sub(r"^[A-Za-z](?:\([A-Za-z]\))?\s*(?:=|\\in\b)\s*", "", text.strip().rstrip("."))
    text = _UNIT_WORDS.sub("", re.sub(r"\s+", " ", text).strip())
    return text.lower() if _is_wordy(text) else text


def _is_wordy(text: str) -> bool:
    return bool(re.fullmatch(r"[-+\d\s.,/%()A-Za-z]*[A-Za-z]{2,}[-+\d\s.,/%()A-Za-z^{}]*", text))


def _divided(match: re.Match[str]) -> str:
    above, below = match[1] or match[2] or "", match[3] or match[4] or ""
    return f"({above})/({below})"


def number(answer: str) -> Fraction | None:
    """The exact value of an answer that is a number, else None."""
    text = normalised(answer).replace(" ", "")
    percent = text.endswith(("%", "\\%"))
    text = text.rstrip("%").rstrip("\\")
    value = _value(text)
    return value / 100 if percent and value is not None else value


def _value(text: str) -> Fraction | None:
    """A plain or mixed number, a fraction, or a number times a power of ten."""
    power = re.fullmatch(r"(.+?)(?:\\times|\\cdot|\*|×)10\^\{?(-?\d{1,3})\}?", text)
    if power and (base := _plain(power[1])) is not None:
        return base * Fraction(10) ** int(power[2])
    if mixed := re.fullmatch(r"(-?)(\d+)\((\d+)\)/\((\d+)\)", text):  # 2 1/2
        whole, above, below = (Fraction(digits) for digits in mixed.groups()[1:])
        value = whole + above / below if below else None
        return -value if value is not None and mixed[1] else value
    text = re.sub(r"\((-?[\d.]+)\)", r"\1", text)
    sign = -1 if text.startswith("-") and "/" in text else 1
    above, slash, below = text.lstrip("-" if sign < 0 else "").partition("/")
    value, divisor = _plain(above), _plain(below) if slash else Fraction(1)
    if value is None or not divisor:
        return None
    return sign * value / divisor


def _plain(text: str) -> Fraction | None:
    if len(text) > 400 or not _NUMBER.fullmatch(text):
        return None
    return Fraction(text.rstrip("."))


def parts(answer: str) -> tuple[str, list[str], str] | None:
    """(opening bracket, elements, closing bracket) of a tuple, interval, set or list, else None.

    A list without brackets, and a set, have no order; their brackets are "{" and "}".
    """
    text = normalised(answer).replace("\\{", "{").replace("\\}", "}").replace(" ", "")
    opening, closing = text[:1], text[-1:]
    bracketed = opening in "([{" and closing in ")]}" and len(text) > 2
    inner = text[1:-1] if bracketed else text
    elements = _split(inner)
    if len(elements) < 2:
        return ("{", elements, "}") if bracketed and opening == "{" else None
    return (opening, elements, closing) if bracketed else ("{", elements, "}")


def _split(text: str) -> list[str]:
    elements, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            elements.append("")
        else:
            elements[-1] += letter
    return elements


def same(answer: str, reference: str) -> bool | None:
    """Whether two answers are equal as far as the normaliser knows; None where it does not."""
    if max(len(answer), len(reference)) > LONGEST:
        return False
    left, right = normalised(answer), normalised(reference)
    if left.replace(" ", "") == right.replace(" ", ""):
        return bool(left)
    if not left:
        return False
    numbers = number(answer), number(reference)
    if None not in numbers:
        return numbers[0] == numbers[1] or _same_but_percent(answer, reference)
    if (some := parts(answer)) and (others := parts(reference)):
        return _same_parts(some, others)
    return None


def _same_but_percent(answer: str, reference: str) -> bool:
    """50% where 50 is asked: the question said that it wants percent."""
    plain = [text.strip().strip("$").rstrip("%").rstrip("\\") for text in (answer, reference)]
    return "%" in answer + reference and number(plain[0]) == number(plain[1])


def _same_parts(
    some: tuple[str, list[str], str], others: tuple[str, list[str], str]
) -> bool | None:
    if len(some[1]) != len(others[1]) or (some[0], some[2]) != (others[0], others[2]):
        return False
    left, right = some[1], list(others[1])
    if some[0] != "{":
        verdicts = [same(a, b) for a, b in zip(left, right, strict=True)]
        return False if False in verdicts else None if None in verdicts else True
    for element in left:
        found = next((other for other in right if same(element, other)), None)
        if found is None:
            unsure = any(same(element, other) is None for other in right)
            return None if unsure else False
        right.remove(found)
    return True


def equivalent(answer: str, reference: str, *, seconds: float = 5.0) -> bool:
    """Whether two answers mean the same.

    Raises ResourceError where that needs `math-verify`, ComparisonFaultError where that cannot tell.
    """
    known = same(answer, reference)
    return _algebra.same(answer, reference, seconds=seconds) if known is None else known


_algebra = Algebra()  # starts its process with the first question
atexit.register(_algebra.close)
