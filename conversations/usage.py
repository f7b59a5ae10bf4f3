"""What was used in a month, and what it cost: sums over turns, in the database."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time

from django.db.models import Count, F, FloatField, Q, Sum
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone

from conversations.models import Source, Turn
from organizations.models import User


@dataclass(frozen=True, slots=True)
class Row:
    """A sum; cost is None where no price is known of anything in it."""

    name: str
    turns: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    @property
    def cost_shown(self) -> str:
        """With so many digits that a small cost is not shown as none; "" where none is known."""
        if self.cost is None:
            return ""
        return f"{self.cost:,.2f}" if not 0 < self.cost < 0.1 else f"{self.cost:.4f}"


@dataclass(frozen=True, slots=True)
class Usage:
    """A month's sums: all of it, and the same by each of three properties, the largest first."""

    total: Row
    by_model: tuple[Row, ...]
    by_person: tuple[Row, ...]
    by_source: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Month:
    """A month in the site's time zone."""

    year: int
    month: int

    @property
    def first(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def next(self) -> "Month":
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def previous(self) -> "Month":
        return Month(self.year, self.month - 1) if self.month > 1 else Month(self.year - 1, 12)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @classmethod
    def read(cls, text: str) -> "Month":
        """Of "2026-11"; this month where it is something else."""
        try:
            found = datetime.strptime(text, "%Y-%m")
        except ValueError:
            return cls.of(timezone.localdate())
        # At the calendar's ends there is no month before or after.
        return cls.of(found.date() if 2000 <= found.year < 3000 else timezone.localdate())

    @classmethod
    def of(cls, day: date) -> "Month":
        return cls(day.year, day.month)


def read_usage(organization_id: uuid.UUID, month: Month, *, only: User | None = None) -> Usage:
    """The organization's usage in a month, or one person's part of it."""
    turns = Turn.objects.filter(
        conversation__organization=organization_id,
        created_at__gte=_start(month),
        created_at__lt=_start(month.next),
    )
    if only:
        turns = turns.filter(author=only)
    labels = dict(Source.choices)
    return Usage(
        total=Row("", *turns.aggregate(**_SUMS).values()),
        by_model=_rows(turns.values_list("model").annotate(**_SUMS)),
        by_person=_rows(turns.values_list("author__name").annotate(**_SUMS)),
        by_source=tuple(
            Row(str(labels.get(row.name, row.name)), *_sums(row))
            for row in _rows(turns.values_list("conversation__source").annotate(**_SUMS))
        ),
    )


_SUMS = {
    "turns": Count("pk"),
    "prompt": Coalesce(Sum("prompt_tokens"), 0),
    "completion": Coalesce(Sum("completion_tokens"), 0),
    # A sum that knows one of the two prices counts the other as nothing.
    "cost": Sum(
        (
            F("prompt_tokens") * Coalesce(Cast("prompt_price", FloatField()), 0.0)
            + F("completion_tokens") * Coalesce(Cast("completion_price", FloatField()), 0.0)
        )
        / 1e6,
        filter=~Q(prompt_price=None, completion_price=None),
        output_field=FloatField(),
    ),
}


def _rows(found: Iterable[tuple[object, ...]]) -> tuple[Row, ...]:
    rows = [Row(str(name or ""), *sums) for name, *sums in found]  # type: ignore[arg-type]
    return tuple(
        sorted(rows, key=lambda row: (-row.prompt_tokens - row.completion_tokens, row.name))
    )


def _sums(row: Row) -> tuple[int, int, int, float | None]:
    return row.turns, row.prompt_tokens, row.completion_tokens, row.cost


def _start(month: Month) -> datetime:
    return timezone.make_aware(datetime.combine(month.first, time.min))
