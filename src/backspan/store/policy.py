"""What a deployment does with what it stores."""

from __future__ import annotations

from dataclasses import dataclass, field

from backspan.store.labels import Labels


@dataclass
class Policy:
    """What a deployment does with what it stores."""

    count_spans: bool
    """Feedback spans of applications reach our counters (embedded server) or were counted by their SDK (gateway)."""
    emit: bool
    """Accepted votes go to the outbox."""
    labels: Labels = field(default_factory=Labels)
    """How many values a label may have."""
