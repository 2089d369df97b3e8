"""The family of learners behind one switch: what each one is for a model whose user vector alone is adapted.

The model scores item i for a user as q_i . u + z_i. The item vectors q and the prior z are its body, shared by all and
served as tables; the user vector u is its head. A member of the family says how u comes about from a support set and
how the outer loop learns from that. The inner loop is one (`meta.inner`), and so is the bundle that it is served from.

Adapting the body: a step on the weights W of the content part, q_i = f_i + W' c_i, changes the score of item i by
c_i . m with one vector m per user. So what MAML adapts of the body is carried as one more coordinate of u for each
content column, and scores stay a matrix product; the free parts f_i are not adapted, as that would move the support's
own items and no others. Without content, MAML and ANIL are the same here.
"""

from enum import StrEnum
from typing import NamedTuple


class Algorithm(StrEnum):
    """Names as `--algorithm` takes them."""

    AMORTIZED = "amortized"
    """Attention-pooled start, then K steps with learned step sizes per coordinate, second order. The default."""
    MAML = "maml"
    """A learned start common to all, K steps of one fixed size on head and body, second order (arXiv:1703.03400)."""
    FOMAML = "fomaml"
    """The same with the inner gradient held constant in the outer one (arXiv:1703.03400, section 5.2)."""
    REPTILE = "reptile"
    """As FOMAML, but the start is moved towards vectors that steps on minibatches of the query set reach, without a
    query gradient (arXiv:1803.02999); steps are smaller, and grow with the events. What no step adapts, item vectors
    and prior, takes the query gradient at the vectors adapted to the support set."""
    ANIL = "anil"
    """As MAML, but the head alone is adapted (arXiv:1909.09157)."""
    META_SGD = "meta-sgd"
    """As MAML, with learned step sizes, one per coordinate and step (arXiv:1707.09835)."""
    PROTOTYPE = "prototype"
    """Metric-based: the attention-pooled support set is the user vector, no steps (after arXiv:1703.05175)."""
    SIAMESE = "siamese"
    """Metric-based: u is the mean of unit item embeddings; wanted items are drawn to it, others pushed beyond a margin
    (Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping, CVPR 2006)."""
    TRIPLET = "triplet"
    """The same encoder; a wanted item has to be nearer to u than another one by a margin (arXiv:1503.03832)."""


class Traits(NamedTuple):
    """What tells the members apart."""

    pooled: bool = False
    """the start holds an attention-pooled support set"""
    learned_rule: bool = False
    """step sizes, decays, strength and event weights are learned; else they are fixed, as in MAML"""
    first_order: bool = False
    adapts_content: bool = False
    """u has a coordinate per content column too"""
    encoder: bool = False
    """metric-based on unit item embeddings, with a contrastive loss"""
    steps: bool = True
    """takes inner steps at all"""
    support_power: float = 0.5
    """rho of the inner loss, where it starts or stays"""


_TRAITS = {
    Algorithm.AMORTIZED: Traits(pooled=True, learned_rule=True),
    Algorithm.MAML: Traits(adapts_content=True),
    Algorithm.FOMAML: Traits(adapts_content=True, first_order=True),
    Algorithm.REPTILE: Traits(adapts_content=True, first_order=True, support_power=1.0),
    Algorithm.ANIL: Traits(),
    Algorithm.META_SGD: Traits(adapts_content=True, learned_rule=True),
    Algorithm.PROTOTYPE: Traits(pooled=True, learned_rule=True, steps=False),
    Algorithm.SIAMESE: Traits(encoder=True, steps=False),
    Algorithm.TRIPLET: Traits(encoder=True, steps=False),
}


def traits_of(algorithm: Algorithm) -> Traits:
    """The traits of a member."""
    return _TRAITS[algorithm]
