"""The sections of the benchmark, in the order in which they are printed. Add one here."""

from meta.benchmark import cold, drift, family, items, long, ranking, ratings
from meta.benchmark.section import Section

SECTIONS = (
    Section("ranking", ranking.measure, ranking.findings),
    Section("ratings", ratings.measure, ratings.findings),
    Section("family", family.measure, family.findings, once=True),
    Section("cold", cold.measure, cold.findings),
    Section("items", items.measure, items.findings),
    Section("drift", drift.measure, drift.findings, once=True),
    Section("long", long.measure, long.findings),
)
BY_NAME = {section.name: section for section in SECTIONS}
