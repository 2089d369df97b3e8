"""MovieLens-100K, fetched when needed; its license forbids to pass it on, so it is never part of this project.

F. Maxwell Harper and Joseph A. Konstan, The MovieLens Datasets: History and Context, ACM TiiS 5(4), 2015.
"""

import hashlib
import io
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from meta.corpus import Corpus
from schemas import InteractionEvent, Item, UserProfile
from schemas.errors import DataError

ARCHIVE_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
ARCHIVE_MD5 = "0e33842e24a9c977be4e0107933c0723"
WHEEL = "recbole==1.2.1"
WHEEL_FOLDER = "recbole/dataset_example/ml-100k/"
WHEEL_SHA256 = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}
ARCHIVE_MEMBERS = ("ml-100k/u.data", "ml-100k/u.item", "ml-100k/u.user")

CONNECT_TIMEOUT_S = 10.0
# pip retries by itself; this only ends a download that hangs.
WHEEL_TIMEOUT_S = 300.0

# fmt: off
GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)
# fmt: on
_YEAR = re.compile(r"\((\d{4})\)")
# Orders events of the same second; the order of the ids would tell what comes next, as ids were given by date.
_TIE_SALT = "fewstep-ties-1"

Tables = tuple[str, str, str]
"""Ratings, items and users, as the text of the files that hold them"""


def cache_dir() -> Path:
    """Where downloads are kept: FEWSTEP_CACHE_DIR, else ~/.cache/fewstep."""
    return Path(os.environ.get("FEWSTEP_CACHE_DIR") or Path.home() / ".cache" / "fewstep")


def load(cache: Path | None = None) -> Corpus:
    """All 100,000 ratings, 1,682 films and 943 users, from the cache or else from the network.

    Raises DataError where no source can be reached.
    """
    cache = cache or cache_dir()
    wheel, archive = cache / "ml-100k-wheel.zip", cache / "ml-100k.zip"
    for path, parse in ((archive, parse_archive), (wheel, parse_wheel)):
        if path.exists():
            return parse(path.read_bytes())
    return _fetch(archive, wheel)


def parse_archive(content: bytes) -> Corpus:
    """Read the official archive. Raises DataError where its checksum is another."""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != ARCHIVE_MD5:
        raise DataError(f"ml-100k.zip is not the published file (md5 differs); empty {cache_dir()} and try again")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        ratings, items, users = (archive.read(name).decode("latin-1") for name in ARCHIVE_MEMBERS)
    return archive_corpus((ratings, items, users))


def parse_wheel(content: bytes) -> Corpus:
    """Read the copy in the wheel. Raises DataError where a checksum is another."""
    tables = []
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name, expected in WHEEL_SHA256.items():
                table = archive.read(WHEEL_FOLDER + name)
                if hashlib.sha256(table).hexdigest() != expected:
                    raise DataError(f"{name} of {WHEEL} is not the known file; empty {cache_dir()} and try again")
                tables.append(table.decode("utf-8"))
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"the copy of {WHEEL} is damaged ({error}); empty {cache_dir()} and try again") from None
    return wheel_corpus((tables[0], tables[1], tables[2]))


def archive_corpus(tables: Tables) -> Corpus:
    """The corpus from u.data, u.item and u.user."""
    ratings, items, users = tables
    films = []
    for row in _rows(items, "|"):
        flags = [genre for genre, flag in zip(GENRES, row[5:], strict=True) if flag == "1"]
        films.append(_film(row[0], row[1], flags))
    return _corpus([tuple(row) for row in _rows(ratings, "\t")], films, [_user(row) for row in _rows(users, "|")])


def wheel_corpus(tables: Tables) -> Corpus:
    """The corpus from the wheel's tables, whose first lines name the columns."""
    ratings, items, users = (list(_rows(table, "\t"))[1:] for table in tables)
    films = [_film(row[0], f"{row[1]} ({row[2]})", row[3].split()) for row in items]
    return _corpus([tuple(row) for row in ratings], films, [_user(row) for row in users])


def _fetch(archive: Path, wheel: Path) -> Corpus:
    problems = []
    attempts: list[tuple[Path, Callable[[], bytes], Callable[[bytes], Corpus]]] = [
        (archive, _download_archive, parse_archive),
        (wheel, _download_wheel, parse_wheel),
    ]
    for path, download, parse in attempts:
        try:
            content = download()
            corpus = parse(content)
        except (OSError, DataError, subprocess.SubprocessError) as error:
            problems.append(str(error))
            continue
        _keep(path, content)
        return corpus
    raise DataError(
        f"MovieLens-100K cannot be fetched from {ARCHIVE_URL} ({problems[0]}) nor with pip from {WHEEL}"
        f" ({problems[1]}); put ml-100k.zip into {archive.parent}"
    )


def _download_archive() -> bytes:
    with urllib.request.urlopen(ARCHIVE_URL, timeout=CONNECT_TIMEOUT_S) as response:
        return bytes(response.read())


def _download_wheel() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run(
            [*command, "--dest", folder, WHEEL], capture_output=True, text=True, timeout=WHEEL_TIMEOUT_S, check=False
        )
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise DataError(f"pip download ended with {done.returncode}: {lines[-1]}")
        with zipfile.ZipFile(wheels[0]) as source:
            tables = {WHEEL_FOLDER + name: source.read(WHEEL_FOLDER + name) for name in WHEEL_SHA256}
    # Only the tables are kept: the wheel holds other data besides.
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as kept:
        for name, table in tables.items():
            kept.writestr(name, table)
    return content.getvalue()


def _keep(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"cannot keep {path}: {reason}; set FEWSTEP_CACHE_DIR to a folder that can be written"
        ) from None


def _rows(table: str, separator: str) -> Iterator[list[str]]:
    return (line.split(separator) for line in table.split("\n") if line.strip())


def _film(item_id: str, title: str, genres: list[str]) -> Item:
    # One film has no year, another a mark behind it: "... (1995) (V)".
    found = list(_YEAR.finditer(title))
    name = " ".join((title[: found[-1].start()] if found else "unknown").split())
    return Item(
        item_id=item_id,
        title=name,
        categories=[genre for genre in GENRES[1:] if genre in genres],
        domain="film",
        features={"year": int(found[-1].group(1))} if found else {},
    )


def _user(row: list[str]) -> UserProfile:
    user_id, age, gender, occupation, _ = row
    return UserProfile(user_id=user_id, features={"age": int(age), "gender": gender, "occupation": occupation})


def _corpus(ratings: list[tuple[str, ...]], films: list[Item], users: list[UserProfile]) -> Corpus:
    def tie(user_id: str, item_id: str) -> bytes:
        return hashlib.sha256(f"{_TIE_SALT}:{user_id}:{item_id}".encode()).digest()

    ordered = sorted(ratings, key=lambda row: (int(row[3]), tie(row[0], row[1])))

    def events() -> Iterator[InteractionEvent]:
        for user_id, item_id, value, seconds in ordered:
            yield InteractionEvent(
                event_id=f"ml-100k-{user_id}-{item_id}",
                user_id=user_id,
                item_id=item_id,
                event_type="rating",
                value=float(value),
                timestamp=int(seconds) * 1000,
            )

    return Corpus(films, users, events)
