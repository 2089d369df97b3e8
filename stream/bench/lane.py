"""What a program under measurement is told: where it reads, where it writes, and under which name."""

import json
from typing import NamedTuple, Self


class Lane(NamedTuple):
    """One run of one program; every run has an `app_id`, and so a consumer group and a changelog, of its own."""

    bootstrap_servers: str
    app_id: str
    source: str
    """Topic of the interactions."""
    lists: str
    """Topic that lists go to."""
    partitions: int
    """Of both topics."""
    n_items: int
    d: int
    """Catalog size and latent dimensions of the model beside which it is measured."""
    data_dir: str
    figures: str
    """File that programs which write no lists leave their own clock readings in."""

    def to_json(self) -> str:
        """As a command line argument."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The reverse of `to_json`."""
        return cls(**json.loads(text))
