"""The folder of the local state: it can be written, one worker holds it, and its rows are of one changelog."""

from pathlib import Path
from typing import Any

import pytest

from schemas.errors import ConfigurationError
from stream.settings import Settings
from stream.shell.folder import held, require_writable


def test_the_folder_of_the_state_is_made_with_those_above_it(tmp_path: Path) -> None:
    require_writable(tmp_path / "a b" / "c")
    assert list((tmp_path / "a b" / "c").iterdir()) == []


def test_a_folder_that_cannot_be_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=rf"{tmp_path}/file \(file exists\): correct --data-dir"):
        require_writable(tmp_path / "file")
    with pytest.raises(ConfigurationError, match="not a directory"):
        require_writable(tmp_path / "file" / "below")


def settings(folder: Path, app_id: str = "a", **state: Any) -> Settings:
    return Settings.load(worker={"app_id": app_id}, state={"data_dir": folder, **state})


def test_a_folder_is_held_by_one_worker_at_a_time(tmp_path: Path) -> None:
    with held(settings(tmp_path), "1"):
        with pytest.raises(ConfigurationError, match="is another worker's"), held(settings(tmp_path), "1"):
            pass
        with held(settings(tmp_path, store="memory"), "1"):
            pass
    with held(settings(tmp_path), "1"):
        pass


@pytest.mark.parametrize(("app_id", "changelog_id"), [("b", "2"), ("a", "2")])
def test_a_folder_stays_with_the_changelog_that_its_rows_are_of(tmp_path: Path, app_id: str, changelog_id: str) -> None:
    with held(settings(tmp_path), "1"):
        pass
    with (
        pytest.raises(ConfigurationError, match=f"no copy of changelog {app_id}-support-sets-changelog"),
        held(settings(tmp_path, app_id), changelog_id),
    ):
        pass
