"""A limit on dead letters: when most of what arrives is refused, a producer is broken and the worker should stop."""

from collections import deque

from schemas.errors import RefusedError


class LetterLimit:
    """Sums records and dead letters over a window of polls. A share of 1 never stops the worker."""

    def __init__(self, *, share: float, window: int) -> None:
        self._share, self._window = share, window
        self._polls: deque[tuple[int, int]] = deque()
        self._records = self._letters = 0

    def admit(self, records: int, letters: int) -> None:
        """Count a poll before it is delivered. Raises RefusedError if it is to be neither delivered nor committed."""
        self._polls.append((records, letters))
        self._records += records
        self._letters += letters
        while self._records - self._polls[0][0] >= self._window:
            gone = self._polls.popleft()
            self._records -= gone[0]
            self._letters -= gone[1]
        if self._records >= self._window and self._letters > self._share * self._records:
            raise RefusedError(
                f"{self._letters} of the last {self._records} records are dead letters, more than "
                f"limits.dead_letter_share {self._share:g} allows: the last poll is not applied; look at the reasons "
                "in the dead-letter topic, mend the producer, or raise the limit"
            )
