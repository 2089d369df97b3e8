"""Made-up titles and categories of the synthetic world."""

CATEGORIES: dict[str, list[str]] = {
    "film": ["drama", "comedy", "thriller", "western", "animation", "documentary"],
    "book": ["mystery", "history", "poetry", "fantasy", "travel", "biography"],
    "music": ["jazz", "folk", "techno", "choral", "blues", "chamber"],
    "game": ["puzzle", "racing", "strategy", "adventure", "cards", "building"],
}

_FIRST_WORDS = (
    "Amber Broken Quiet Copper Distant Early Fallen Gentle Hidden Iron Jade Kindled Little Marble Northern Open Paper"
    " Rising Silver Tangled Unseen Velvet Wandering Winter Yellow Burning Crooked Drifting Empty Frozen Golden Hollow"
    " Last Midnight Narrow Pale Restless Scarlet Second Wild"
)
_SECOND_WORDS = (
    "Harbor Lantern Orchard River Compass Garden Letter Mirror Mountain Bridge Island Clock Valley Station Forest"
    " Window Road Tide Cathedral Meadow Engine Feather Shore Library Signal Bell Canyon Market Thread Castle Door"
    " Falcon Hour Kitchen Lake Map Needle Ocean Painter Quarry"
)
_FIRST, _SECOND = _FIRST_WORDS.split(), _SECOND_WORDS.split()
_PATTERNS = {"film": "The {}", "book": "A {}", "music": "{}", "game": "{} Quest"}


def title(number: int, domain: str) -> str:
    """A readable title; different numbers give different ones within a domain."""
    round_, pair = divmod(number, len(_FIRST) * len(_SECOND))
    # 7 has no factor in common with 1600, so that neighbors do not share a word.
    first, second = divmod(pair * 7 % (len(_FIRST) * len(_SECOND)), len(_SECOND))
    name = _PATTERNS[domain].format(f"{_FIRST[first]} {_SECOND[second]}")
    return name if round_ == 0 else f"{name} {round_ + 1}"
