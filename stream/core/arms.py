"""Two bundles at once: a sticky share of the users is served by the challenger, everybody else by the incumbent."""

from collections.abc import Callable, Sequence
from hashlib import blake2b

from stream.core.decode import Decoded, Rejection
from stream.core.fold import decode_all
from stream.core.records import Outcome, ReadRow, Record
from stream.settings import LimitSettings


def is_challenged(user: bytes, *, challenger: str, share: float) -> bool:
    """Whether the user (id as UTF-8) belongs to the share that the challenger serves; the answer is always the same.

    Another challenger is given another share: no users become the guinea pigs of every trial.
    """
    drawn = int.from_bytes(blake2b(user, digest_size=6, key=blake2b(challenger.encode()).digest()).digest())
    return drawn < share * 2**48


_Step = Callable[..., Outcome]


class Arms:
    """A step of two steps. Each user's records go to one of them whole, so that order and state are kept."""

    def __init__(self, incumbent: _Step, challenger: _Step, *, name: str, share: float, limits: LimitSettings) -> None:
        """`name` is the challenger's, `share` in (0, 1] the part of the users that it serves."""
        self._incumbent, self._challenger = incumbent, challenger
        self._name, self._share, self._limits = name, share, limits

    def __call__(self, records: Sequence[Record], read_row: ReadRow, *, clock_ms: int) -> Outcome:
        """As `Step`; what the incumbent's users are given comes first, per user in order."""
        sides: tuple[list[Record], list[Record]] = ([], [])
        # Decoding twice is the price of a trial: only the value says for certain whose record it is.
        for record, decoded in zip(records, decode_all(records, self._limits), strict=True):
            sides[self._serves(decoded)].append(record)
        one = self._incumbent(sides[False], read_row, clock_ms=clock_ms)
        other = self._challenger(sides[True], read_row, clock_ms=clock_ms)
        return Outcome(
            rows=one.rows + other.rows,
            recommendations=one.recommendations + other.recommendations,
            dead_letters=one.dead_letters + other.dead_letters,
            counts={name: count + other.counts[name] for name, count in one.counts.items()},
        )

    def _serves(self, decoded: Decoded) -> bool:
        return not isinstance(decoded, Rejection) and is_challenged(
            decoded.key, challenger=self._name, share=self._share
        )
