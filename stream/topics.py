"""Names of the worker's own topic and table."""

TABLE = "support-sets"


def changelog_topic(app_id: str) -> str:
    """The changelog of the support sets: compacted, with as many partitions as `interactions`."""
    return f"{app_id}-{TABLE}-changelog"
