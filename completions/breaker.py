"""Leaves a provider alone that has failed several times in a row, and tries it again by one call.

Without it everybody who asks waits for the same time limit, and a provider that is coming back is
asked by all at once.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator

from completions.errors import (
    CompletionError,
    FirstTokenTimeout,
    ProviderFailed,
    ProviderPaused,
    ProviderRefused,
    ProviderUnreachable,
)

WITHIN_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 120.0
PROBE_AGAIN_SECONDS = 1.0  # what callers are told to wait while one call tries
# Statuses by which a gateway or a balancer says that nothing behind it answers. Not 500: that is
# often about the one request (LiteLLM answers it to a faulty body).
DOWN = (502, 503, 504, 529)


class Breaker:
    """Counts the failures of one model at one provider; clock is in seconds, as time.monotonic.

    Closed, it lets all calls through. So many failures in a row within WITHIN_SECONDS open it: for
    FIRST_PAUSE_SECONDS no call goes through. Then one at a time does: its success closes the
    breaker, its failure opens it for twice as long, up to LONGEST_PAUSE_SECONDS.
    """

    def __init__(self, failures: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Open after that many failures in a row; never, if that is 0."""
        self._clock = clock
        self._most = failures
        self._failed_at: deque[float] = deque(maxlen=max(1, failures))
        self._pause = 0.0  # 0: closed
        self._open_until = 0.0
        self._is_probing = False

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Make a call within it, and say succeed() as soon as an answer begins.

        Raises ProviderPaused where the call must not go through. A call that is cancelled proves
        nothing; if it was the one that tried, the next one tries.
        """
        is_probe = self._enter()
        try:
            yield
        except CompletionError as error:
            if is_failure(error):
                self._fail(is_probe)
            elif isinstance(error, ProviderRefused | ProviderFailed):
                self.succeed()
            raise
        finally:
            if is_probe:
                self._is_probing = False

    def succeed(self) -> None:
        """The provider has answered, were it with a refusal."""
        self._failed_at.clear()
        self._pause = 0.0

    def _enter(self) -> bool:
        """Return whether this call is the one that tries an open breaker."""
        if not self._pause:
            return False
        left = self._open_until - self._clock()
        if left <= 0 and not self._is_probing:
            self._is_probing = True
            return True
        raise ProviderPaused(
            "The provider has failed several times and is left alone for a moment.",
            retry_after=max(left, PROBE_AGAIN_SECONDS),
        )

    def _fail(self, is_probe: bool) -> None:
        now = self._clock()
        if is_probe:
            self._open(min(self._pause * 2, LONGEST_PAUSE_SECONDS), now)
        elif self._most and not self._pause:  # else it began before the breaker opened
            self._failed_at.append(now)
            in_row = len(self._failed_at) == self._most
            if in_row and now - self._failed_at[0] <= WITHIN_SECONDS:
                self._open(FIRST_PAUSE_SECONDS, now)

    def _open(self, seconds: float, now: float) -> None:
        self._pause = seconds
        self._open_until = now + seconds
        self._failed_at.clear()


def is_failure(error: CompletionError) -> bool:
    """Whether an error says that the provider is down, rather than that it will not answer this."""
    if isinstance(error, ProviderFailed):
        return error.status in DOWN
    return isinstance(error, ProviderUnreachable | FirstTokenTimeout)
