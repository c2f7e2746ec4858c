"""The structure planted in synthetic logs, and the least loss that any model can have on them.

An item is (interest, product, variant). Interest and product are a Markov chain that the last item shows: the interest
stays or is drawn anew; the product is drawn from a Zipf law, or follows from the last one by a sparse kernel that
keeps this law. The variant is an independent chain over the same user's interactions `lag` apart, so that only a
reader of `lag` items can predict it. Every entropy is then a finite sum, at the price of products that know nothing
of variants.

Popularity follows the Zipf law from below the head on, which many interests and variants flatten.

The kernel: lay the products of an interest on a circle, each as long as it is probable, and turn the circle by the
interest's angle; what a product comes to lie on are its successors. It has at most twice as many entries as products.

Shapes: N interactions, U users, K interests, F products of an interest, G variants, E entries of a kernel.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ray_userrep.recipe.logs import SyntheticConfig

_MILD = 0.5  # Zipf exponent of interests and variants: many of the same size, so that products decide the tail
_GOLDEN = (math.sqrt(5) - 1) / 2

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Floors(NamedTuple):
    """The least cross-entropy of the next item, in nats an interaction, by what is known of a user's history.

    `unigram`: nothing; `first_order`: the last item, or up to lag - 1 of them; `full`: at least lag items.
    """

    unigram: float
    first_order: float
    full: float

    def mean(self, num_short: int, num_long: int) -> float:
        """Over so many items with a shorter, but not empty, and with a full history."""
        return (self.first_order * num_short + self.full * num_long) / (num_short + num_long)


class ItemParts(NamedTuple):
    """Items taken apart."""

    interest_N: Ints
    product_N: Ints
    variant_N: Ints


class Scatter(NamedTuple):
    """A one-to-one map of [0, size) onto itself without a table, so that a number does not show what it stands for."""

    size: int
    factor: int
    offset: int

    @staticmethod
    def of(size: int, seed: int) -> "Scatter":
        factor = max(1, int(size * _GOLDEN))
        while math.gcd(factor, size) > 1:
            factor += 1
        return Scatter(size, factor, seed % size)

    def forth(self, number_N: Ints) -> Ints:
        return (number_N * self.factor + self.offset) % self.size

    def back(self, number_N: Ints) -> Ints:
        return (number_N - self.offset) % self.size * pow(self.factor, -1, self.size) % self.size


class Planted:
    """The process of one config: draws from it, its floors, and the probability of what was drawn."""

    def __init__(self, config: SyntheticConfig) -> None:
        self.config = config
        num_products = config.items // (config.interests * config.variants)
        self.interest_K1 = _edges(config.interests, _MILD)
        self.product_F1 = _edges(num_products, config.item_exponent)
        self.variant_G1 = _edges(config.variants, _MILD)
        self.angle_K = 0.2 + 0.6 * ((np.arange(config.interests) + 1) * _GOLDEN % 1)
        self._ids = Scatter.of(config.items, config.seed)

    def item_ids(self, parts: ItemParts) -> Ints:
        num_products, num_variants = len(self.product_F1) - 1, self.config.variants
        numbers_N = (parts.interest_N * num_products + parts.product_N) * num_variants + parts.variant_N
        return self._ids.forth(numbers_N)

    def parts(self, ids_N: Ints) -> ItemParts:
        product_N, variant_N = np.divmod(self._ids.back(ids_N), self.config.variants)
        return ItemParts(*np.divmod(product_N, len(self.product_F1) - 1), variant_N)

    def draw(self, position_N: Ints, step_N: Floats, product_N: Floats, variant_N: Floats) -> ItemParts:
        """Whole users, one after the other, from three uniform numbers an interaction."""
        interest_N, follows_N = self._interests(position_N, step_N)
        return ItemParts(
            interest_N, self._products(interest_N, follows_N, product_N), self._variants(position_N, variant_N)
        )

    def floors(self) -> Floors:
        """The exact floors, up to rounding."""
        interest, product, variant = (
            _entropy(np.diff(e)) for e in (self.interest_K1, self.product_F1, self.variant_G1)
        )
        chain = float(np.diff(self.interest_K1) @ [self._chain_entropy(k) for k in range(self.config.interests)])
        return Floors(interest + product + variant, chain + variant, chain + self._echo_entropy())

    def log_probabilities(self, ids_N: Ints, offsets_U1: Ints) -> Floats:
        """Of each item given all before it of the same user, by the process itself."""
        parts = self.parts(ids_N)
        position_N = positions(offsets_U1)
        return self._chain_log_p(parts, position_N) + self._variant_log_p(parts.variant_N, position_N)

    def _interests(self, position_N: Ints, step_N: Floats) -> tuple[Ints, Bools]:
        """The interests, and where the last item decides the product."""
        drift, follow = self.config.drift, self.config.follow
        first_N = position_N == 0
        renewed_N = first_N | (step_N < drift)
        # The number that decided is uniform again in the interval that it fell into.
        fresh_N = np.flatnonzero(renewed_N)
        drawn_N = _bin(self.interest_K1, np.where(first_N[fresh_N], step_N[fresh_N], step_N[fresh_N] / drift))
        return drawn_N[np.cumsum(renewed_N) - 1], ~renewed_N & (step_N < drift + (1 - drift) * follow)

    def _products(self, interest_N: Ints, follows_N: Bools, uniform_N: Floats) -> Ints:
        product_N = _bin(self.product_F1, uniform_N)
        for rows in _in_order(follows_N, 1):
            last = product_N[rows - 1]
            start, end = self.product_F1[last], self.product_F1[last + 1]
            place = start + uniform_N[rows] * (end - start) + self.angle_K[interest_N[rows]]
            product_N[rows] = _bin(self.product_F1, place % 1)
        return product_N

    def _variants(self, position_N: Ints, uniform_N: Floats) -> Ints:
        lag, echo = self.config.lag, self.config.echo
        late_N = position_N >= lag
        echoes_N = late_N & (uniform_N < echo)
        variant_N = _bin(self.variant_G1, np.where(late_N, (uniform_N - echo) / (1 - echo), uniform_N))
        for rows in _in_order(echoes_N, lag):
            variant_N[rows] = variant_N[rows - lag]
        return variant_N

    def _mixture(self, interest: int | Ints) -> tuple[Floats, float]:
        """The weights of the Zipf law and of the kernel in what follows within the same interest."""
        stays, follow = 1 - self.config.drift, self.config.follow
        return self.config.drift * np.diff(self.interest_K1)[interest] + stays * (1 - follow), stays * follow

    def _chain_entropy(self, interest: int) -> float:
        """Of the next interest and product where the last interest is known, over its products."""
        product_F = np.diff(self.product_F1)
        of_law = _entropy(product_F)
        law, kernel = self._mixture(interest)
        source_E, target_E, joint_E = self._kernel(self.angle_K[interest])
        by_law_E = law * product_F[target_E]
        both_E = by_law_E + kernel * joint_E / product_F[source_E]
        near = law * (np.log(law) - of_law) + product_F[source_E] @ (_x_log_x(both_E) - _x_log_x(by_law_E))
        others_K = self.config.drift * np.delete(np.diff(self.interest_K1), interest)
        return float(-near - (_x_log_x(others_K) - others_K * of_law).sum())

    def _kernel(self, angle: float) -> tuple[Ints, Ints, Floats]:
        """Which product follows which, and the joint probabilities."""
        edges = np.unique(np.concatenate([self.product_F1, (self.product_F1 + angle) % 1]))
        width, middle = np.diff(edges), (edges[1:] + edges[:-1]) / 2
        source, target = _bin(self.product_F1, (middle - angle) % 1), _bin(self.product_F1, middle)
        pairs, place = np.unique(source * len(self.product_F1) + target, return_inverse=True)
        return *np.divmod(pairs, len(self.product_F1)), np.bincount(place, width).astype(np.float64)

    def _echo_entropy(self) -> float:
        echo, variant_G = self.config.echo, np.diff(self.variant_G1)
        rest_G = (1 - echo) * variant_G
        # All variants as if none were echoed, corrected for the one that is.
        return float(-_x_log_x(rest_G).sum() - variant_G @ (_x_log_x(rest_G + echo) - _x_log_x(rest_G)))

    def _chain_log_p(self, parts: ItemParts, position_N: Ints) -> Floats:
        interest_N, product_N, _ = parts
        last_N = np.maximum(np.arange(len(product_N)) - 1, 0)
        interest_K, product_F = np.diff(self.interest_K1), np.diff(self.product_F1)
        law, kernel = self._mixture(interest_N)
        step_N = law * product_F[product_N] + kernel * self._step(interest_N, product_N[last_N], product_N)
        start_N = interest_K[interest_N] * product_F[product_N]
        moved_N = np.where(interest_N == interest_N[last_N], step_N, self.config.drift * start_N)
        return np.log(np.where(position_N == 0, start_N, moved_N))

    def _step(self, interest_N: Ints, source_N: Ints, target_N: Ints) -> Floats:
        """The kernel's entries for pairs of products: what of the turned source lies on the target."""
        start_N, end_N = (self.product_F1[source_N + side] + self.angle_K[interest_N] for side in (0, 1))
        low_N, high_N = self.product_F1[target_N], self.product_F1[target_N + 1]
        over_N = sum(
            np.maximum(np.minimum(end_N - turn, high_N) - np.maximum(start_N - turn, low_N), 0) for turn in (0, 1)
        )
        return over_N / np.diff(self.product_F1)[source_N]

    def _variant_log_p(self, variant_N: Ints, position_N: Ints) -> Floats:
        lag, echo = self.config.lag, self.config.echo
        drawn_N = np.diff(self.variant_G1)[variant_N]
        same_N = variant_N == variant_N[np.maximum(np.arange(len(variant_N)) - lag, 0)]
        return np.log(np.where(position_N >= lag, (1 - echo) * drawn_N + echo * same_N, drawn_N))


def positions(offsets_U1: Ints) -> Ints:
    """Of each interaction in its user's history, from 0."""
    return np.arange(offsets_U1[-1]) - np.repeat(offsets_U1[:-1], np.diff(offsets_U1))


def _edges(size: int, exponent: float) -> Floats:
    """The interval of [0, 1) that stands for each outcome of a Zipf law."""
    sums = np.cumsum(np.arange(1, size + 1, dtype=np.float64) ** -exponent)
    return np.concatenate([[0.0], sums / sums[-1]])


def _bin(edges: Floats, place_N: Floats) -> Ints:
    return np.clip(np.searchsorted(edges, place_N, side="right") - 1, 0, len(edges) - 2)


def _in_order(depends_N: Bools, lag: int) -> Iterator[Ints]:
    """The rows that depend on the row `lag` before, in groups such that what a group depends on came before it."""
    before_N = np.zeros_like(depends_N)
    before_N[lag:] = depends_N[:-lag]
    rows = np.flatnonzero(depends_N & ~before_N)
    while len(rows):
        yield rows
        rows = rows + lag
        rows = rows[rows < len(depends_N)]
        rows = rows[depends_N[rows]]


def _x_log_x(x: Floats) -> Floats:
    return x * np.log(np.where(x > 0, x, 1))


def _entropy(p: Floats) -> float:
    return float(-_x_log_x(p).sum())
