"""How often a caller may ask: limits that hold over all processes, and need no clean-up.

GCRA (ITU-T I.371): one number a caller, the time until which its rate is used up, moved on by one
conditional UPDATE. No window has an edge at which twice the limit would pass.
"""

import math
import time
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from conversations.models import Allowance

WINDOW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Rate:
    """Where a caller stands: of `limit` requests a minute `remaining` may be made at once.

    reset_seconds is until all may be made again; retry_after, in whole seconds, until one may.
    """

    limit: int
    remaining: int
    reset_seconds: float
    retry_after: int = 0  # 0: this one was allowed


def take(limits: dict[str, int]) -> Rate | None:
    """Count one request against each name's limit (requests a minute; 0: no limit).

    All or none is counted. Returns the tightest rate, or None where nothing is limited.
    """
    set_limits = {name: limit for name, limit in limits.items() if limit}
    if not set_limits:
        return None
    with transaction.atomic():
        rates = [_take(name, limit) for name, limit in set_limits.items()]
        if any(rate.retry_after for rate in rates):
            transaction.set_rollback(True)
    return min(rates, key=lambda rate: (-rate.retry_after, rate.remaining))


def _take(name: str, limit: int) -> Rate:
    interval = WINDOW_SECONDS / limit
    now = time.time()
    allowed = _move_on(name, now, interval)
    if not allowed:
        Allowance.objects.bulk_create([Allowance(name=name)], ignore_conflicts=True)
        allowed = _move_on(name, now, interval)
    used = max(Allowance.objects.get(pk=name).used_until - now, 0.0)
    if allowed:
        return Rate(limit, int((WINDOW_SECONDS - used) / interval + 1e-6), used)
    wait = used + interval - WINDOW_SECONDS
    return Rate(limit, 0, used, retry_after=max(1, math.ceil(wait)))


def _move_on(name: str, now: float, interval: float) -> bool:
    free = Allowance.objects.filter(pk=name, used_until__lte=now + WINDOW_SECONDS - interval)
    return bool(free.update(used_until=Greatest(F("used_until"), Value(now)) + interval))
