import numpy as np
import pytest
import torch

from meta import baselines, protocol
from meta.config import TrainingConfig
from meta.dataset import load, subset
from meta.episodes import episodes
from meta.inner import adapt, as_support
from meta.known import Known
from meta.model import Initialization
from meta.modes import Mode
from meta.outer import Batch, outer_loss
from meta.sampling import whole_catalog
from meta.supports import Supports
from meta.training import as_scorer, refit, split_users, train
from schemas.errors import DataError

SHORT = TrainingConfig(d=8, epochs=4, validate_every=2)
N_GROUPS, GROUP = 4, 15


@pytest.fixture
def planted(write_lines, event):
    """Users like the items of one of four groups, and nothing else tells the groups apart."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(300):
        liked = rng.permutation(GROUP)[:12] + GROUP * (user % N_GROUPS)
        rows += [event(f"u{user}", f"i{item}", day=day + user / 300) for day, item in enumerate(liked)]
    items = [{"item_id": f"i{item}"} for item in range(N_GROUPS * GROUP)]
    return load(write_lines("interactions.jsonl", rows), write_lines("items.jsonl", items))


def untrained(config):
    known = Known(torch.zeros(60, 0), 0, torch.ones(1))
    return Initialization(config, known, generator=torch.Generator().manual_seed(0))


def batch_of(tasks, prior):
    return Batch(tasks, whole_catalog(tasks.targets, tasks.hidden), prior, prior)


def test_two_trainings_with_one_seed_give_equal_tensors(planted):
    first, second, other = (train(planted, SHORT, seed=seed) for seed in (1, 1, 2))
    for group in ("theta", "items"):
        for name, tensor in getattr(first, group).items():
            assert torch.equal(tensor, getattr(second, group)[name]), name
    assert not torch.equal(first.items["item_vectors"], other.items["item_vectors"])


def test_training_leaves_the_global_generator_alone(planted):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    train(planted, SHORT, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_short_training_finds_the_planted_tastes(planted):
    config = TrainingConfig(
        d=8, epochs=40, fixed_query_begin=6, support_sizes=(0, 1, 2, 3, 5), long_support_sizes=(), validate_every=10
    )
    held_out = np.arange(0, 300, 5)
    learning = subset(planted, np.setdiff1d(np.arange(300), held_out))
    checking = subset(planted, held_out)
    trained = train(learning, config, seed=0)
    tasks = episodes(checking, np.arange(60), np.full(60, 3), query_begin=np.full(60, 3))
    found = [
        protocol.ndcg_at(
            protocol.top_rows(scorer.score(tasks.supports), 10, excluded=tasks.hidden, seed=0), tasks.targets
        ).mean()
        for scorer in (as_scorer(trained), baselines.fit_popularity(learning))
    ]
    assert found[0] > 0.6  # 0.75 is what knowing the group exactly is worth
    assert found[0] > found[1] + 0.3


def test_the_best_epoch_is_kept_and_every_epoch_is_told(planted):
    told = []
    trained = train(planted, SHORT, seed=0, progress=lambda epoch, ndcg: told.append((epoch, ndcg)))
    assert [epoch for epoch, _ in told] == [1, 2, 3, 4]
    looked = {epoch: ndcg for epoch, ndcg in told if ndcg is not None}
    assert set(looked) == {2, 4}
    assert trained.best_measure == max(looked.values()) == looked[trained.best_epoch]


def test_every_query_item_of_a_batch_weighs_the_same(planted):
    users = np.array([0, 1])
    tasks = episodes(planted, users, np.array([2, 2]), query_begin=np.array([2, 11]))
    assert tasks.targets.sum(1).tolist() == [10, 1]
    config = TrainingConfig(d=4, dropout=0.0, apart_share=0.0)
    model = untrained(config)
    prior = torch.randn(2, 60, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        loss = outer_loss(model, batch_of(tasks, prior), config)
        adapted = adapt(as_support(tasks.supports), prior, theta=model.theta(), items=model.items())
        scores = adapted.user_vector @ model.items()["item_vectors"].T + prior
        scores[torch.from_numpy(tasks.hidden)] = -torch.inf
        wanted = torch.log_softmax(scores, 1)[torch.from_numpy(tasks.targets)]
    assert loss.item() == pytest.approx(-wanted.mean().item(), rel=1e-5)


def test_apart_a_query_item_competes_with_what_the_user_never_had(planted):
    tasks = episodes(planted, np.array([0]), np.array([2]), query_begin=np.array([2]))
    config = TrainingConfig(d=4, dropout=0.0, apart_share=1.0)
    model = untrained(config)
    prior = torch.randn(1, 60, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        losses = [
            outer_loss(model, batch_of(tasks, prior), config.model_copy(update={"apart_share": s}))
            for s in (0, 0.25, 1)
        ]
        adapted = adapt(as_support(tasks.supports), prior, theta=model.theta(), items=model.items())
        scores = (adapted.user_vector @ model.items()["item_vectors"].T + prior)[0]
    wanted, others = (np.flatnonzero(mask[0]) for mask in (tasks.targets, ~tasks.hidden & ~tasks.targets))
    expected = [-torch.log_softmax(scores[[item, *others]], 0)[0] for item in wanted]
    assert losses[2].item() == pytest.approx(np.mean(expected), rel=1e-5)
    assert losses[1].item() == pytest.approx(0.75 * losses[0].item() + 0.25 * losses[2].item(), rel=1e-5)


def test_a_user_who_had_the_whole_catalog_does_not_spoil_the_loss(planted):
    tasks = episodes(planted, np.array([0, 1]), np.array([2, 2]), query_begin=np.array([2, 2]))
    tasks.hidden[0], tasks.targets[0] = True, False
    config = TrainingConfig(d=4)
    model = untrained(config)
    loss = outer_loss(model, batch_of(tasks, torch.zeros(2, 60)), config)
    loss.backward()
    assert loss.isfinite()
    assert model.free_vectors.grad.isfinite().all()


def test_the_split_is_seeded_and_every_able_user_is_on_one_side(planted):
    training, validation = split_users(planted, 0.1, seed=3)
    assert len(validation) == 30
    assert sorted([*training, *validation]) == list(range(300))
    again = split_users(planted, 0.1, seed=3)
    assert (again[1] == validation).all()
    assert (split_users(planted, 0.1, seed=4)[1] != validation).any()


def test_validation_users_teach_nothing(planted):
    """Their events changed, the tensors stay: neither vectors nor popularity have seen them."""
    trained = train(planted, SHORT.model_copy(update={"epochs": 1, "validate_every": 1}), seed=0)
    theirs = np.isin(planted.user, trained.validation_users)
    planted.item[theirs] = (planted.item[theirs] + 7) % 60
    again = train(planted, SHORT.model_copy(update={"epochs": 1, "validate_every": 1}), seed=0)
    assert all(torch.equal(trained.items[name], again.items[name]) for name in trained.items)


def test_validation_users_can_be_named(planted):
    trained = train(planted, SHORT, seed=0, validation=np.array([3, 5]))
    assert trained.validation_users.tolist() == [3, 5]
    assert trained.training_users.tolist() == [user for user in range(300) if user not in (3, 5)]


def test_too_few_users_are_refused(write_lines, event):
    rows = [event("a", "x"), event("a", "y"), event("b", "x")]
    dataset = load(write_lines("e.jsonl", rows), write_lines("i.jsonl", [{"item_id": item} for item in ("x", "y")]))
    with pytest.raises(DataError, match="1 users have two events"):
        train(dataset, SHORT, seed=0)


def test_dislikes_alone_teach_nothing_and_are_refused(write_lines, event):
    rows = [event(user, item, kind="dislike") for user in "abc" for item in ("x", "y")]
    dataset = load(write_lines("e.jsonl", rows), write_lines("i.jsonl", [{"item_id": item} for item in ("x", "y")]))
    with pytest.raises(DataError, match="negative types"):
        train(dataset, SHORT, seed=0)


def test_the_scorer_takes_the_prior_of_the_users_now(planted):
    trained = train(planted, SHORT, seed=0)
    times = trained.prior_times
    now = np.array([times[0] - 1, times[0], times[1], times[-1] + 10**9])
    nothing = np.zeros((4, 1))
    empty = Supports(
        np.arange(4),
        nothing.astype(np.int64),
        nothing.astype(np.float32),
        nothing.astype(np.int64),
        nothing.astype(np.float32),
        np.zeros((4, 0), dtype=np.float32),
        now,
    )
    start = trained.theta["start"] @ trained.items["item_vectors"].T
    expected = start + trained.items["prior"][[0, 0, 1, len(times) - 1]]
    np.testing.assert_allclose(as_scorer(trained).score(empty), expected, atol=1e-6)


@pytest.mark.parametrize("mode", list(Mode))
def test_the_scorer_can_be_measured(made_up, mode):
    dataset = load(made_up / "interactions.jsonl", made_up / "items.jsonl", made_up / "users.jsonl")
    trained = train(dataset, SHORT, seed=0)
    found = protocol.evaluate([as_scorer(trained)], dataset, mode=mode, reference="fewstep", seed=0)
    assert found["scorers"]["fewstep"]["ndcg"]["5"]["mean"] > 0


def test_a_refit_learns_from_the_validation_users_too_and_keeps_what_was_measured(planted):
    trained = train(planted, SHORT, seed=0)
    again = refit(trained, planted, SHORT, seed=0)
    assert again.best_measure == trained.best_measure
    assert (again.validation_users == trained.validation_users).all()
    alone = train(planted, SHORT, seed=0, validation=trained.validation_users[:0])
    assert torch.equal(again.items["item_vectors"], alone.items["item_vectors"])
    assert not torch.equal(again.items["item_vectors"], trained.items["item_vectors"])


@pytest.mark.parametrize("reason", ["not asked for", "more epochs than are good"])
def test_there_is_no_refit(planted, reason):
    trained = train(planted, SHORT, seed=0)
    config = SHORT.model_copy(update={"refit": reason != "not asked for"})
    if config.refit:
        trained = trained._replace(last_measure=trained.best_measure * 0.9)
    assert refit(trained, planted, config, seed=0) is trained
