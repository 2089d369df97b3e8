import pytest
from typer.testing import CliRunner

from meta.benchmark import __main__, running
from meta.benchmark.section import Section


def test_an_unknown_section_is_named():
    import typer

    app = typer.Typer()
    app.command()(__main__.main)
    done = CliRunner().invoke(app, ["--only", "nonsense"])
    assert done.exit_code == 1
    assert "no section nonsense; there are ranking, ratings, family, cold" in done.output


def test_sections_get_their_parts_in_the_order_of_the_splits(monkeypatch: pytest.MonkeyPatch):
    pool = _InThisProcess()
    monkeypatch.setattr(running, "_pool", lambda: pool)
    monkeypatch.setattr(running, "_measure", lambda name, fold: (f"{name}{fold}", 0.0))
    sections = (Section("a", id, list), Section("b", id, list, once=True))
    monkeypatch.setattr(running, "BY_NAME", {section.name: section for section in sections})
    told: list[str] = []
    found = dict(running.run(["a", "b"], [3, 1, 2], tell=told.append))
    assert found == {"a": ["a3", "a1", "a2"], "b": ["b3"]}
    assert told[-1].startswith("4 of 4 parts")


class _InThisProcess:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def submit(self, function, *arguments):
        from concurrent.futures import Future

        done: Future = Future()
        done.set_result(function(*arguments))
        return done
