"""Which events of a held-out user a scorer has to predict."""

from enum import StrEnum


class Mode(StrEnum):
    """`rest`: all after the support. `fixed`: those after the 20th, whatever the support."""

    REST = "rest"
    FIXED = "fixed"
