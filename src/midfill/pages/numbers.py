"""Numbers for people."""


def size(count: float) -> str:
    """A number of bytes: 98.4 MB."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def short(count: float) -> str:
    """Three digits of a number: 4.92M, 0.00042, 3e-05."""
    for unit in ("", "K", "M", "B", "T"):
        if abs(count) < 999.5:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{1e15 * count:.2e}"


def duration(seconds: float) -> str:
    """A time: 43 s, 12 min 5 s, 3 h 20 min, 2 d 4 h."""
    whole = round(seconds)
    for large, small, apart in ((86400, 3600, "d h"), (3600, 60, "h min"), (60, 1, "min s")):
        if whole >= large:
            first, second = apart.split()
            return f"{whole // large} {first} {whole % large // small} {second}"
    return f"{seconds:.3g} s"
