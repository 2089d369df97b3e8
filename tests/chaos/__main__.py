"""`make chaos`: a soak with faults on Apache Kafka (KAFKA_HOME).

FEWSTEP_CHAOS_MINUTES (10), FEWSTEP_CHAOS_SEED (1), FEWSTEP_CHAOS_RATE (200 messages a second), FEWSTEP_CHAOS_DELIVERY
(at_least_once), FEWSTEP_CHAOS_STORE (rocksdict), FEWSTEP_CHAOS_OUT (a new folder build/chaos-SEED-TIME). The seed
reproduces the faults, their order, victims and durations, and what is sent. Exit code 1 if anything is wrong.
"""

import os
import sys
from pathlib import Path
from time import strftime
from typing import cast

from chaos.report import write_report
from chaos.run import Plan, run
from schemas.errors import FewstepError
from stream.settings import DeliveryKind, StoreKind


def main() -> int:
    """Run as the environment says, and print the report."""
    given = {name.removeprefix("FEWSTEP_CHAOS_"): value for name, value in os.environ.items()}
    seed = int(given.get("SEED", "1"))
    folder = Path(given.get("OUT", f"build/chaos-{seed}-{strftime('%Y%m%d-%H%M%S')}")).resolve()
    folder.mkdir(parents=True)
    plan = Plan(
        minutes=float(given.get("MINUTES", "10")),
        seed=seed,
        rate=int(given.get("RATE", "200")),
        delivery=cast(DeliveryKind, given.get("DELIVERY", "at_least_once")),
        store=cast(StoreKind, given.get("STORE", "rocksdict")),
        folder=folder,
    )
    try:
        found = run(plan)
    except FewstepError as error:
        print(f"chaos: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    print(f"\n{write_report(folder, found)}reports and logs: {folder}")  # noqa: T201
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
