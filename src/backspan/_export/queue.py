"""The queue between the application and the exporter: bounded in bytes, and choosy about what goes first.

It holds three sorts: *fresh* spans as the SDK made them, *packed* spans as bytes, and a batch that is *flying*. All are
counted. Past the limit the oldest content goes, then the oldest spans, and spans with a judgement only when nothing
else is left; what is flying stays. Everything here is short and is called with the lock of `processor` held.
"""

from __future__ import annotations

from collections import Counter, deque

from opentelemetry.sdk.trace import ReadableSpan

from backspan._export.delivery import FEEDBACK, SPAN
from backspan._export.pack import Packed, is_feedback

_STRAY_SHARE = 0.95
"""Past the limit, room is made down to this share of it, so that not every span has to make room."""


class SpanQueue:
    """Spans on their way out, at most ``limit`` bytes of them.

    ``dropped`` counts the spans it had to drop by kind, ``stripped`` those that lost their content. ``used`` is the
    memory they take, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.dropped: Counter[str] = Counter()
        self.stripped = 0
        self._fresh: deque[tuple[ReadableSpan, int]] = deque()
        self._packed: deque[Packed] = deque()
        self._with_content: deque[Packed] = deque()
        self._feedback: deque[Packed] = deque()
        self._flying: list[Packed] = []

    def __len__(self) -> int:
        return len(self._fresh) + len(self._packed) + len(self._feedback) + len(self._flying)

    @property
    def fresh(self) -> int:
        """How many spans are not packed yet."""
        return len(self._fresh)

    # --- in ---------------------------------------------------------------------------------------------------------
    def add(self, span: ReadableSpan, cost: int) -> None:
        """Take an ended span of ``cost`` bytes (see `estimate`); make room if it is one too many."""
        self._fresh.append((span, cost))
        self.used += cost
        if self.used > self.limit:
            self._make_room()

    def unpacked(self, most: int) -> list[tuple[ReadableSpan, int]]:
        """Take out up to ``most`` fresh spans and their costs, the oldest first, to be packed and put back by `packed`.

        Until then they count as used.
        """
        return [self._fresh.popleft() for _ in range(min(most, len(self._fresh)))]

    def packed(self, cost: int, packed: list[Packed]) -> None:
        """Put in ``packed``, which was made of fresh spans of ``cost`` bytes."""
        self.used += sum(one.cost for one in packed) - cost
        self._packed.extend(packed)
        self._with_content.extend(one for one in packed if one.content and not one.feedback)
        if self.used > self.limit:
            self._make_room()

    # --- out --------------------------------------------------------------------------------------------------------
    def take(self, size: int, most: int) -> list[Packed]:
        """Take the oldest spans for one request of ``size`` bytes and ``most`` spans, but one span at least."""
        taken: list[Packed] = []
        for source in (self._feedback, self._packed):
            while source and len(taken) < most and (not taken or size >= source[0].size):
                taken.append(source.popleft())
                size -= taken[-1].size
        for one in taken:
            one.flying = True
        while self._with_content and self._with_content[0].flying:
            self._with_content.popleft()
        self._flying = taken
        return taken

    def land(self, kept: list[Packed]) -> None:
        """End the flight of the batch: ``kept`` goes back to the front, in its order; the rest has gone."""
        staying = set(map(id, kept))
        self.used -= sum(one.cost for one in self._flying if id(one) not in staying)
        self._flying = []
        for one in kept:
            one.flying = False
        self._feedback.extendleft(one for one in reversed(kept) if one.feedback)
        self._packed.extendleft(one for one in reversed(kept) if not one.feedback)
        self._with_content.extendleft(one for one in reversed(kept) if one.content and not one.feedback)
        if self.used > self.limit:
            self._make_room()

    def strip(self, one: Packed) -> None:
        """Take the content of a flying span."""
        self.used -= one.strip()
        self.stripped += 1

    def clear(self) -> Counter[str]:
        """Empty it; return what was in it, by kind. Nothing is counted as dropped."""
        left = Counter(FEEDBACK if one.feedback else SPAN for one in (*self._feedback, *self._packed, *self._flying))
        left.update(_kind(span) for span, _ in self._fresh)
        for part in (self._fresh, self._packed, self._with_content, self._feedback):
            part.clear()
        self._flying, self.used = [], 0
        return left

    # --- room -------------------------------------------------------------------------------------------------------
    def _make_room(self) -> None:
        """Drop the least missed first. Fresh spans are reached only while a request hangs and much comes meanwhile."""
        goal = int(self.limit * _STRAY_SHARE)
        while self.used > goal and self._with_content:
            self.strip(self._with_content.popleft())
        while self.used > goal and self._packed:
            one = self._packed.popleft()
            if one.feedback:
                self._feedback.append(one)
            else:
                self._drop(SPAN, one.cost)
        self._drop_fresh(goal, SPAN)
        while self.used > goal and self._feedback:
            self._drop(FEEDBACK, self._feedback.popleft().cost)
        self._drop_fresh(goal, FEEDBACK)

    def _drop_fresh(self, goal: int, kind: str) -> None:
        passed: list[tuple[ReadableSpan, int]] = []
        while self.used > goal and self._fresh:
            span, cost = self._fresh.popleft()
            if _kind(span) == kind:
                self._drop(kind, cost)
            else:
                passed.append((span, cost))
        self._fresh.extendleft(reversed(passed))

    def _drop(self, kind: str, cost: int) -> None:
        self.dropped[kind] += 1
        self.used -= cost


def _kind(span: ReadableSpan) -> str:
    return FEEDBACK if is_feedback(span) else SPAN
