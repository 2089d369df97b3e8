"""Where settings come from: flag > environment (`FEWSTEP_` prefix, `__` between levels) > `fewstep.toml` > default."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from schemas.errors import ConfigurationError

SECTIONS = ("kafka", "model", "state", "lists", "limits", "worker", "web", "measures")
"""All sections that there are; the trainer reads one of them, and finds a misspelled one nevertheless."""
_FILE = "fewstep.toml"


class Sources(BaseSettings):
    """Base of a root of settings, whose fields are some of the sections."""

    model_config = SettingsConfigDict(
        env_prefix="FEWSTEP_", env_nested_delimiter="__", toml_file=_FILE, frozen=True, extra="forbid"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment, then the file in the working directory."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @classmethod
    def load(cls, **flags: Mapping[str, Any]) -> Self:
        """Read all sources; `flags` are sections whose None values mean "not given".

        Raises ConfigurationError naming the setting, its value and what is expected.
        """
        given = {
            section: kept
            for section, values in flags.items()
            if (kept := {name: value for name, value in values.items() if value is not None})
        }
        _refuse_unknown_sections()
        try:
            return cls(**given)  # type: ignore[arg-type]
        except SettingsError as error:  # a list or an object in the environment is written as JSON
            raise ConfigurationError(
                f'{error}: write lists as JSON, such as FEWSTEP_LIMITS__EVENT_TYPES=\'["view", "listen"]\''
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            variable = "FEWSTEP_" + "__".join(str(part) for part in first["loc"]).upper()
            # A whole section, or a secret, has no place in a message.
            untold = isinstance(first["input"], dict) or "password" in name or "token" in name
            told = "" if untold else f" is {first['input']!r}"
            said = first["msg"].removeprefix("Value error, ")
            raise ConfigurationError(f"setting {name}{told}: {said}; correct the flag, {variable} or {_FILE}") from None


def _refuse_unknown_sections() -> None:
    """Raise ConfigurationError for a section that does not exist: what it says would be left out silently."""
    known = f"a section is one of {', '.join(SECTIONS)}"
    for variable in sorted(os.environ):
        section, nested, _ = variable.removeprefix("FEWSTEP_").partition("__")
        if nested and variable.startswith("FEWSTEP_") and section.lower() not in SECTIONS:
            raise ConfigurationError(f"{variable} is no setting: {known}; correct it")
    try:
        told = tomllib.loads(Path(_FILE).read_text(encoding="utf-8")) if Path(_FILE).exists() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{_FILE} cannot be read as TOML: {error}; correct the file") from None
    for section in told:
        if section not in SECTIONS:
            raise ConfigurationError(f"{section} of {_FILE} is no setting: {known}; correct it")
