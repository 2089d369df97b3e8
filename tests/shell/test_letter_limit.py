"""A broken producer stops the worker; single bad records do not."""

import pytest

from schemas.errors import RefusedError
from stream.shell.letter_limit import LetterLimit


def test_a_window_of_mostly_refused_records_is_refused_with_the_figures() -> None:
    limit = LetterLimit(share=0.5, window=100)
    limit.admit(60, 60)  # the window is not full yet
    with pytest.raises(RefusedError, match=r"100 of the last 110 records .*dead_letter_share 0.5"):
        limit.admit(50, 40)


def test_what_left_the_window_counts_no_more() -> None:
    limit = LetterLimit(share=0.5, window=100)
    limit.admit(50, 50)
    for _ in range(10):
        limit.admit(100, 50)
    with pytest.raises(RefusedError):
        limit.admit(100, 51)


def test_a_share_of_one_never_stops() -> None:
    limit = LetterLimit(share=1.0, window=10)
    for _ in range(100):
        limit.admit(10, 10)
