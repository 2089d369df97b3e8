"""The errors that fewstep raises on purpose.

    FewstepError
    ├── ConfigurationError   a setting, a flag or a file named by one is wrong
    ├── BrokerError          Kafka cannot be reached, or lacks a topic or a right
    ├── BundleError          a bundle or the model store is missing, damaged or of another format
    ├── DataError            an input file cannot be read or does not hold what it should
    ├── StateError           a stored row of a user cannot be read
    └── RefusedError         a gate said no; nothing was changed

The message of each is one line for the operator: what happened, where, and how to mend it. The command line prints
it and exits with `exit_code`, without a traceback.
"""

from pydantic import ValidationError


class FewstepError(Exception):
    """Base of all errors that are meant for the operator."""

    exit_code = 1


class ConfigurationError(FewstepError):
    """A setting is missing, malformed or contradicts another one: correct it and start again."""


class BrokerError(FewstepError):
    """The Kafka cluster cannot be used as configured: check address, topics and rights."""


class BundleError(FewstepError):
    """A bundle cannot be served: publish a sound one or point at another version."""


class DataError(FewstepError):
    """An input file is missing or malformed: the message names the file and the line."""


class StateError(FewstepError):
    """A stored row is damaged or of a newer format: rebuild the local state, or start the newer build again."""


class RefusedError(FewstepError):
    """A gate refused the operation; what was in use stays in use."""

    exit_code = 3


def complaint(error: ValidationError) -> str:
    """The first thing that is wrong with a message or a setting, as part of a line: field, then what is expected."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    return f"{field}: {said}" if field else said
