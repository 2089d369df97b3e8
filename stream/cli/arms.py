"""What running workers have measured of the bundles that they serve and try, side by side."""

import json
from collections.abc import Iterable
from http.client import HTTPException
from typing import Annotated
from urllib.request import Request, urlopen

import typer

from schemas.errors import ConfigurationError, DataError
from stream.cli.options import Json
from stream.core.tally import Sums, summarize

_TIMEOUT_S = 10.0

Arm = tuple[str, str]
"""Model and version."""


def arms(
    urls: Annotated[list[str], typer.Argument(metavar="URL...", help="/metrics of each worker.", show_default=False)],
    token: Annotated[
        str | None, typer.Option(envvar="FEWSTEP_WEB__TOKEN", help="Of the workers' metrics.", show_default=False)
    ] = None,
    json_output: Json = False,
) -> None:
    """Compare what workers measured by model version; `fewstep model promote` then serves the better one."""
    found = _added(sums for url in urls for sums in _read(url, token))
    if json_output:
        told = [{"model": model, "version": version, **summarize(sums)} for (model, version), sums in found.items()]
        typer.echo(json.dumps(told))
        return
    for (model, version), sums in found.items():
        told_of = summarize(sums)
        typer.echo(
            f"{model} {version}: {sums.events:.0f} events"
            + (
                ", HR@10 {hit_rate:.4f} [{hit_rate_low:.4f} {hit_rate_high:.4f}], loss {loss:.4f}, "
                "gain of adaptation {gain:.4f} [{gain_low:.4f} {gain_high:.4f}]".format(**told_of)
                if told_of
                else ""
            )
        )
    if not found:
        typer.echo("nothing is measured yet: wait for events, or raise measures.share")


def _read(url: str, token: str | None) -> Iterable[tuple[Arm, Sums]]:
    """The sums of one worker. Raises ConfigurationError where it does not answer, DataError for another answer."""
    from prometheus_client.parser import text_string_to_metric_families

    from stream.shell.metrics import PREQUENTIAL

    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{url} is no address: give that of a worker's metrics, http://host:port/metrics")
    try:
        request = Request(url, headers={} if token is None else {"Authorization": f"Bearer {token}"})
        with urlopen(request, timeout=_TIMEOUT_S) as answer:
            text = answer.read().decode()
    except (OSError, HTTPException, ValueError) as error:  # of the last two: an address that cannot be one
        reason = getattr(error, "reason", error)  # of URLError
        raise ConfigurationError(f"{url} gives no metrics ({reason}): correct the address, or --token") from None
    values: dict[Arm, dict[str, float]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith(PREQUENTIAL):
                    arm = sample.labels["model"], sample.labels["version"]
                    values.setdefault(arm, {})[sample.name.removeprefix(PREQUENTIAL)] = sample.value
        return [(arm, Sums(**of_arm)) for arm, of_arm in values.items()]  # type: ignore[arg-type]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{url} does not answer as a worker of this version does: give its /metrics") from None


def _added(found: Iterable[tuple[Arm, Sums]]) -> dict[Arm, Sums]:
    total: dict[Arm, Sums] = {}
    for arm, sums in found:
        total[arm] = total.get(arm, Sums()).plus(sums)
    return total
