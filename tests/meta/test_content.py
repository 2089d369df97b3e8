import numpy as np

from meta.content import content_matrix
from schemas import Item


def item(name: str, *categories: str, domain: str = "", **features: float | str | bool) -> Item:
    return Item(item_id=name, categories=list(categories), domain=domain, features=features)


def test_items_with_equal_attributes_have_equal_rows_of_length_one():
    matrix = content_matrix([item("a", "x", "y"), item("b", "y", "x"), item("c", "x"), item("d")])
    assert matrix.dtype == np.float32
    assert (matrix[0] == matrix[1]).all()
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), [1, 1, 1, 0], atol=1e-6)
    assert matrix[0] @ matrix[2] > 0.7


def test_an_attribute_of_one_item_or_of_all_has_no_column():
    matrix = content_matrix([item("a", "all", "one"), item("b", "all", "two"), item("c", "all", "two")])
    assert matrix.shape == (3, 1)
    assert matrix[:, 0].tolist() == [0, 1, 1]


def test_numbers_are_cut_where_the_items_part_evenly():
    matrix = content_matrix([item(str(year), year=1900 + year, title="t", flag=True) for year in range(80)])
    assert matrix.shape == (80, 8)
    assert matrix.sum(axis=0).tolist() == [10.0] * 8
    assert (np.diff(matrix.argmax(axis=1)) != 0).sum() == 7


def test_domains_and_categories_of_one_name_are_told_apart():
    matrix = content_matrix([item("a", "film"), item("b", "film"), item("c", domain="film"), item("d", domain="film")])
    assert matrix.shape == (4, 2)
    assert matrix[0] @ matrix[2] == 0


def test_at_most_256_columns_are_kept_the_commonest_first():
    rows = [item(str(n), *(f"c{j}" for j in range(300) if n < 299 - j or j == n)) for n in range(300)]
    matrix = content_matrix(rows)
    assert matrix.shape == (300, 256)
    held = (matrix > 0).sum(axis=0)
    assert (np.diff(held) <= 0).all()
    assert held[0] == max(held)


def test_a_bare_catalog_has_no_columns():
    assert content_matrix([item("a"), item("b")]).shape == (2, 0)
