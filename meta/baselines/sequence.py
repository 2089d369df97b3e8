"""SASRec: the next item from the ones before, by causal self-attention.

Source: Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018. The loss is the softmax over the whole
catalog in place of one sampled negative, which makes it stronger: Petrov and Macdonald, gSASRec, RecSys 2023.
"""

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from meta.baselines.events import positive_events, said_yes
from meta.dataset import Dataset, subset
from meta.modes import Mode
from meta.protocol import measure
from meta.scorer import FittedScorer, Scorer
from meta.supports import Supports

# The best of `meta.benchmark.choosing`.
D, DROPOUT, WEIGHT_DECAY = 32, 0.3, 0.1
BLOCKS, HEADS = 2, 2
LENGTH = 50
"""Events of a user that one sequence holds"""
EPOCHS, BATCH, RATE = 40, 64, 3e-3
VALIDATE_EVERY = 5


class _Network(nn.Module):
    """Scores (b, s + 1, n_items) of what follows none, one, ... s items; the last row of the table is the start."""

    def __init__(self, n_items: int, d: int, dropout: float) -> None:
        super().__init__()
        self.items = nn.Embedding(n_items + 1, d)
        self.positions = nn.Embedding(LENGTH + 1, d)
        layer = nn.TransformerEncoderLayer(d, HEADS, d, dropout, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, BLOCKS, norm=nn.LayerNorm(d), enable_nested_tensor=False)
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.dropout = nn.Dropout(dropout)
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, sequence: Tensor) -> Tensor:
        start = torch.full_like(sequence[:, :1], len(self.bias))
        rows = torch.cat([start, sequence], dim=1)
        width = rows.shape[1]
        inputs = self.dropout(self.items(rows) + self.positions(torch.arange(width)))
        causal = nn.Transformer.generate_square_subsequent_mask(width)
        hidden: Tensor = self.blocks(inputs, mask=causal, is_causal=True)
        return hidden @ self.items.weight[:-1].T + self.bias


def fit_sasrec(
    dataset: Dataset, *, d: int = D, dropout: float = DROPOUT, weight_decay: float = WEIGHT_DECAY, seed: int = 0
) -> Scorer:
    """Train on the users' first events, stop at the best epoch for a tenth of the users."""
    positive = positive_events(dataset)
    rng = np.random.default_rng(seed)
    users = rng.permutation(np.flatnonzero(positive.lengths))
    checking, learning = np.split(users, [max(1, len(users) // 10)])
    sequences, lengths = _windows(positive, learning)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Network(dataset.n_items, d, dropout)
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=weight_decay)
        best, state = -1.0, copy.deepcopy(network.state_dict())
        held_out = subset(positive, checking)
        for epoch in range(1, EPOCHS + 1):
            network.train()
            for batch in np.array_split(rng.permutation(len(sequences)), -(-len(sequences) // BATCH)):
                optimizer.zero_grad()
                torch.autograd.backward(_loss(network, sequences[batch], lengths[batch]))
                optimizer.step()
            if epoch % VALIDATE_EVERY == 0:
                found = _validate(_scorer(network, dataset), held_out)
                if found >= best:
                    best, state = found, copy.deepcopy(network.state_dict())
    network.load_state_dict(state)
    return _scorer(network, dataset)


def _loss(network: _Network, sequences: np.ndarray, lengths: np.ndarray) -> Tensor:
    rows = torch.from_numpy(sequences)
    scores = network(rows[:, :-1])
    asked = torch.arange(rows.shape[1]) < torch.from_numpy(lengths)[:, None]
    return functional.cross_entropy(scores[asked], rows[asked])


def _windows(dataset: Dataset, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Item rows of the users' first events (n, LENGTH), zeros at the end, and how many there are (n,)."""
    lengths = np.minimum(dataset.lengths[users], LENGTH)
    inside = np.arange(LENGTH) < lengths[:, None]
    at = np.where(inside, dataset.starts[:-1][users][:, None] + np.arange(LENGTH), 0)
    return np.where(inside, dataset.item[at], 0).astype(np.int64), lengths


def _scorer(network: _Network, dataset: Dataset) -> Scorer:
    def scores(supports: Supports) -> np.ndarray:
        network.eval()
        yes = said_yes(dataset, supports)
        # The newest events that did not say no, without gaps: what is left out goes behind them, and is never asked.
        yes &= np.cumsum(yes[:, ::-1], axis=1)[:, ::-1] <= LENGTH
        order = np.argsort(~yes, axis=1, kind="stable")[:, :LENGTH]
        items = np.take_along_axis(supports.support_items, order, axis=1)
        count = torch.from_numpy(yes.sum(axis=1))
        with torch.no_grad():
            found: Tensor = network(torch.from_numpy(items))
            return found[torch.arange(len(items)), count].numpy()

    return FittedScorer("SASRec", scores)


def _validate(scorer: Scorer, held_out: Dataset) -> float:
    users = np.arange(held_out.n_users)
    values = np.stack([measure(scorer, held_out, users, mode=mode, seed=0).ndcg for mode in Mode])
    return float(values[~np.isnan(values)].mean()) if not np.isnan(values).all() else 0.0
