"""A bundle to serve where the operator names none: small, seeded, trained just long enough to be one."""

from pathlib import Path

from stream.children import run

NAME = "bench"
ITEMS, USERS, EVENTS_PER_USER = 1700, 400, 30
# Its lists are worth little; sizes, steps and graphs are those of a real one, and only they cost time.
_RECIPE = "epochs = 2\nvalidate_every = 2\n"


def make_bundle(home: Path, *, seed: int, sampling: bool = False) -> str:
    """Write model NAME to a new model store below `home`; gives the store.

    With `sampling` the inner steps range over a sample of the catalog, as they do of catalogs that are large.

    Raises FewstepError if data or training fail, such as without fewstep[train].
    """
    data, store, recipe = home / "data", home / "models", home / "recipe.toml"
    home.mkdir(exist_ok=True)
    recipe.write_text(_RECIPE + ("exact_inner_items = 1\n" if sampling else ""))
    world = ["--items", ITEMS, "--users", USERS, "--events-per-user", EVENTS_PER_USER]
    sources = ["--interactions", data / "interactions.jsonl", "--items", data / "items.jsonl"]
    target = ["--users", data / "users.jsonl", "--config", recipe, "--model-store", store, "--model", NAME]
    ends = ["--seed", seed, "--json"]
    run([str(part) for part in ("data", "synthetic", "--out", data, *world, *ends)], home=home)
    run([str(part) for part in ("train", *sources, *target, *ends)], home=home)
    return str(store)
