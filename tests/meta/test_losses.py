import numpy as np
import pytest
import torch

from meta import losses
from meta.sampling import proposal, sampled_catalog, whole_catalog

N_ITEMS = 200


@pytest.fixture
def tasks():
    """Targets and hidden items of four tasks, and scores of the whole catalog."""
    rng = np.random.default_rng(0)
    targets = rng.random((4, N_ITEMS)) < 0.05
    hidden = (rng.random((4, N_ITEMS)) < 0.1) & ~targets
    return targets, hidden, torch.from_numpy(rng.normal(0, 1.5, (4, N_ITEMS)))


@pytest.mark.parametrize("apart", [0.0, 0.2, 1.0])
def test_the_sampled_softmax_nears_the_full_one(tasks, apart):
    targets, hidden, scores = tasks
    exact = losses.softmax_loss(scores, whole_catalog(targets, hidden), apart_share=apart)
    items, rng = proposal(np.random.default_rng(1).poisson(5, N_ITEMS)), np.random.default_rng(2)

    def sampled(n: int) -> torch.Tensor:
        columns = sampled_catalog(targets, hidden, items.draw(n, rng))
        return losses.softmax_loss(scores[:, columns.rows], columns, apart_share=apart)

    few, many = (torch.stack([sampled(n) for _ in range(100)]).mean() for n in (50, 2000))
    assert many.item() == pytest.approx(exact.item(), abs=0.01)
    assert few.item() == pytest.approx(exact.item(), abs=0.15)


def test_the_sum_over_a_sample_is_unbiased(tasks):
    """Not so without the correction, as items are drawn by how many events they have."""
    scores = tasks[2][0]
    counts = np.exp(scores.numpy())  # what is likely is also drawn more often
    items, rng = proposal(counts), np.random.default_rng(3)
    samples = [items.draw(60, rng) for _ in range(3000)]
    corrected = np.mean([torch.exp(scores[s.rows] + s.log_weights).sum() for s in samples])
    plain = np.mean([torch.exp(scores[s.rows]).sum() * N_ITEMS / 60 for s in samples])
    exact = torch.exp(scores).sum().item()
    assert corrected == pytest.approx(exact, rel=0.01)
    assert plain > 1.3 * exact


def test_a_query_item_of_another_task_is_exact_for_its_own_alone(tasks):
    targets, hidden, _ = tasks
    columns = sampled_catalog(targets, hidden, proposal(np.ones(N_ITEMS)).draw(40, np.random.default_rng(4)))
    for task in range(4):
        rows = columns.rows[columns.targets[task]]
        assert sorted(rows.tolist()) == np.flatnonzero(targets[task]).tolist()
        negatives = columns.rows[~columns.excluded[task] & ~columns.targets[task]].numpy()
        assert not (targets[task] | hidden[task])[negatives].any()


def test_bce_is_least_where_query_items_are_certain_and_others_impossible(tasks):
    targets, hidden, _ = tasks
    columns = whole_catalog(targets, hidden)
    right = torch.where(torch.from_numpy(targets), 20.0, -20.0)
    assert losses.bce_loss(right, columns) < 1e-6
    assert losses.bce_loss(torch.zeros_like(right), columns).item() == pytest.approx(2 * np.log(2), rel=1e-5)


def test_contrastive_losses_want_a_margin_and_no_more(tasks):
    targets, hidden, _ = tasks
    columns, wanted = whole_catalog(targets, hidden), torch.from_numpy(targets)
    for loss in (losses.siamese_loss, losses.triplet_loss):
        assert loss(torch.where(wanted, 0.0, 0.5), columns, margin=0.5) == 0
        assert loss(torch.where(wanted, 0.0, 0.4), columns, margin=0.5).item() == pytest.approx(0.1, rel=1e-5)
        assert loss(torch.where(wanted, 0.4, 0.0), columns, margin=0.5).item() == pytest.approx(0.9, rel=1e-5)


@pytest.mark.parametrize(("squared", "expected"), [(True, (1 + 4 + 0) / 3), (False, (1 + 2 + 0) / 3)])
def test_the_error_counts_query_ratings_alone(squared, expected):
    predicted, ratings = torch.tensor([[3.0, 9.0], [5.0, 1.0]]), torch.tensor([[4.0, 0.0], [3.0, 1.0]])
    targets = torch.tensor([[True, False], [True, True]])
    assert losses.rating_loss(predicted, ratings, targets, squared=squared).item() == pytest.approx(expected)
