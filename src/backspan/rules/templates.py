"""Text templates of alerts that look up what the rules recorded about the alert's own labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

COUNT, RATE, TWO, WHEN = 'printf "%.0f"', "humanizePercentage", 'printf "%.2f"', "humanizeTimestamp"
"""Ways to show a value: a whole number, a share, two decimals, a Unix time."""
EXACT = 'printf "%.6g"'
"""For a program that reads it."""


def remembered(fixed: Mapping[str, str], labels: Sequence[str]) -> str:
    """Keeps the matchers of the alert's own series in ``$at``, for `looked_up`; writes nothing itself."""
    wanted = ",".join([*(f'{key}="{value}"' for key, value in fixed.items()), *(f"{key}=%q" for key in labels)])
    values = " ".join(f"$labels.{key}" for key in labels)
    return f"{{{{ $at := printf `{wanted}` {values} }}}}"


def looked_up(name: str, form: str, more: str = "") -> str:
    """The value of ``name`` with the matchers in ``$at`` and ``more``; a question mark where it has none."""
    selector = f"{name}{{%s{more}}}"
    found = f"{{{{ with printf `{selector}` $at | query }}}}{{{{ . | first | value | {form} }}}}"
    return f"{found}{{{{ else }}}}?{{{{ end }}}}"


def named(labels: Sequence[str]) -> str:
    """``label=value`` for every label that is not empty, each after a space."""
    return "".join(f"{{{{ with $labels.{key} }}}} {key}={{{{ . }}}}{{{{ end }}}}" for key in labels)
