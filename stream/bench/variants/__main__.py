"""Runs one of the programs until SIGTERM; LANE is the JSON of `stream.bench.lane.Lane`."""

import logging
import sys
from importlib import import_module

from stream.bench.lane import Lane

PROGRAMS = {
    "floor": "stream.bench.variants.floor:floor",
    "faust": "stream.bench.variants.plain:consume_only",
    "plain": "stream.bench.variants.plain:plain",
    "restore": "stream.bench.variants.plain:restore",
    "tuned": "stream.bench.variants.plain:tuned",
    "maml": "stream.bench.variants.maml:maml",
    "melu": "stream.bench.variants.maml:melu",
}


def main() -> None:
    """Run the program named by the first argument with the lane in the second."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # it warns of each rebalance and each new topic
    module, _, function = PROGRAMS[sys.argv[1]].partition(":")
    getattr(import_module(module), function)(Lane.from_json(sys.argv[2]))


if __name__ == "__main__":
    main()
