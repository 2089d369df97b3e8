import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest

from meta.report import plots, writing
from meta.report.page import page
from schemas.errors import DataError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DEADLINE_S = 120


class Reader(HTMLParser):
    """Tags, ids, links and whatever would fetch or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.foreign: list[str] = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.anchors += [given["href"]] if tag == "a" else []
        fetched = {"src", "data", "srcset", "xlink:href"} & set(given)
        if tag in {"script", "link", "img", "iframe", "object"} or fetched:
            self.foreign.append(tag)


def test_the_page_needs_no_network_and_no_script(collected):
    text = page(collected)
    reader = Reader()
    reader.feed(text)
    assert reader.foreign == []
    assert "http" not in text and "url(" not in text and "@import" not in text
    assert {anchor.removeprefix("#") for anchor in reader.anchors} <= set(reader.ids)


def test_a_section_without_figures_is_absent(collected):
    bare = page({**collected, "learning_curve": None})
    assert 'id="drift"' not in bare and 'id="learning"' not in bare and 'id="cold"' not in bare
    estimate = {"mean": 0.5, "low": 0.4, "high": 0.6, "n_users": 9}
    drift = {"fewstep": {"0": estimate, "2": estimate}}
    full = page({**collected, "drift": drift, "learning_curve": [(5, 0.1), (10, 0.2)]})
    assert 'id="drift"' in full and 'id="learning"' in full


def test_titles_cannot_break_out_of_the_page(collected):
    items = [{"title": "<script>alert(1)</script>", "group": "", "x": 0.0, "y": 1.0}] * 2
    assert "<script>" not in page({**collected, "item_map": {"explained": [0.5, 0.1], "groups": [], "items": items}})


def test_every_chart_is_well_formed_and_has_a_label():
    series = plots.Series("a < b", [0, 1, 20], [0.1, 0.2, 0.15], [0.05, 0.1, 0.1], [0.2, 0.3, 0.2])
    chart = plots.lines([series], label="x & y", x_label="k", y_label="nDCG")
    diagonal = plots.diagonal([(0.1, 0.2, 5), (0.0, 0.1, 5)], label="l", x_label="x", y_label="y")
    cloud = plots.dots([(0.0, 0.0, "t", "g"), (1.0, 1.0, "u", "")], ["g"], label="map")
    for drawn in (chart, diagonal, cloud):
        svg = ElementTree.fromstring(f"<div>{drawn}</div>").find("svg")
        assert svg is not None and svg.get("role") == "img" and svg.get("aria-label")
    assert "a &lt; b, k 20: 0.150 [0.100 to 0.200]" in chart


def test_a_logarithmic_axis_has_round_ticks():
    axis = plots.Axis(0.03, 0.6, 0, 100, logarithmic=True)
    assert axis.ticks() == pytest.approx([0.05, 0.1, 0.2, 0.5])
    assert axis.at(0.03) == 0 and axis.at(0.6) == 100


def test_a_folder_that_cannot_be_made_is_named(collected, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="--report"):
        writing.write(collected, tmp_path / "file" / "below")


def test_a_browser_shows_the_page(collected, tmp_path: Path):
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no Chromium on the PATH: install it to see the report in a real browser")
    path = writing.write(collected, tmp_path / "report")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}"]
    # Every host name leads nowhere.
    flags.append("--host-resolver-rules=MAP * ~NOTFOUND")
    shot = tmp_path / "page.png"
    done = subprocess.run(
        [browser, *flags, "--window-size=1000,3000", f"--screenshot={shot}", path.as_uri()],
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # An empty page of this size is below 20 kB.
    assert shot.stat().st_size > 60_000
