import numpy as np
import torch

from meta.config import TrainingConfig
from meta.episodes import Episodes
from meta.known import Known
from meta.model import Initialization
from meta.outer import Batch, outer_loss
from meta.sampling import whole_catalog
from meta.supports import Supports

TASKS, ITEMS = 8, 20
HAD, WANTED = 1, 0


def made_batch() -> Batch:
    """Everybody had one item three times, and wants another one."""
    events, ones = (TASKS, 3), np.ones((TASKS, 3), dtype=np.float32)
    supports = Supports(
        np.arange(TASKS),
        np.full(events, HAD),
        ones,
        np.zeros(events, dtype=np.int64),
        ones,
        np.zeros((TASKS, 0), dtype=np.float32),
        np.zeros(TASKS, dtype=np.int64),
    )
    hidden, targets = np.zeros((TASKS, ITEMS), dtype=bool), np.zeros((TASKS, ITEMS), dtype=bool)
    hidden[:, HAD], targets[:, WANTED] = True, True
    prior = torch.zeros(TASKS, ITEMS)
    return Batch(Episodes(supports, hidden, targets), whole_catalog(targets, hidden), prior, prior)


def test_reptiles_start_moves_towards_what_comes_later_and_not_towards_what_was_had():
    config = TrainingConfig(algorithm="reptile", d=6, dropout=0.0)
    known = Known(torch.zeros(ITEMS, 0), 0, torch.ones(1))
    model = Initialization(config, known, generator=torch.Generator().manual_seed(0))
    model.free_vectors.data = torch.eye(ITEMS, 6)
    with torch.random.fork_rng():
        outer_loss(model, made_batch(), config).backward()
    moved = -model.start.grad
    assert moved[WANTED] > 0.01
    assert moved[HAD] < 0
