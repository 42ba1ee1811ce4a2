"""Format bytes, durations and counts for display."""


def format_bytes(size: float) -> str:
    """Format bytes: `67.1 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"


def format_duration(seconds: float) -> str:
    """Format seconds: `4.2 s`, `42 s`, `3 min 20 s`, `5 h 12 min`, `8,570 h`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 100:
        return f"{hours + (minutes >= 30):,} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def pluralize(count: int, noun: str, plural: str = "") -> str:
    """Format a count with its noun: `1 pair`, `2,000 pairs`.

    Args:
        count: The count.
        noun: Singular of the noun.
        plural: Plural of the noun; adds an `s` by default.
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
