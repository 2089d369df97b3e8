"""The program `fewstep`: configures logging and turns errors meant for the operator into one line and an exit code."""

import asyncio
import logging
import sys


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 usage, 3 refused by a gate, 130 interrupted."""
    try:
        sys.exit(_run())
    except (KeyboardInterrupt, asyncio.CancelledError):  # asyncio.Runner makes the second of an early first
        sys.exit(130)


def _run() -> int:
    from schemas.errors import FewstepError
    from stream.cli.group import build_command

    _configure_logging()
    try:
        build_command().main(prog_name="fewstep")
    except FewstepError as error:
        return _fail(" ".join(str(error).split()), error.exit_code)
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module in ("", "stream", "schemas", "meta"):
            raise
        # What the worker needs is always installed, so it is a part of the training extra that is missing.
        return _fail(f"{module} is not installed: this needs fewstep[train]: pip install 'fewstep[train]'", 1)
    return 0


def _fail(message: str, exit_code: int) -> int:
    sys.stderr.write(f"fewstep: {message}\n")
    return exit_code


def _configure_logging() -> None:
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("fewstep").setLevel(logging.INFO)
    # It reports each retried connection as an error; what matters arrives as an exception.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    main()
