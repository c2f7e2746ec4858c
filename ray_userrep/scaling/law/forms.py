"""The laws that are compared: each says what the logarithm of the loss is, and how it changes with its parameters.

Most are sums of positive terms and are written as the logarithm of a sum of exponentials, so that nothing overflows
and no constant can turn negative. Many parameter vectors are worked on at once: starts, and resampled points.

Shapes: S parameter vectors, P points, K parameters.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import product

import numpy as np

from ray_userrep.scaling.law.points import Axis, Centre, Floats
from ray_userrep.scaling.law.terms import EXPONENTS, Broken, Floor, Logs, Power, Saturating, Term

_SHARES = (0.02, 0.1, 0.3, 0.6, 0.9)
_ALIVE = 0.03  # of a term over the mean loss
_LOWEST = 1e-9  # a loss, over the mean loss, below which a form that can turn negative is cut off


class Form(ABC):
    """A law."""

    name: str
    formula: str
    axes: tuple[Axis, ...]
    num_parameters: int

    @abstractmethod
    def log_loss(self, theta_SK: Floats, logs: Logs) -> tuple[Floats, Floats]:
        """The logarithm of the loss over the mean loss, `[S, P]`, and its derivatives, `[S, P, K]`."""

    @abstractmethod
    def starts(self) -> Floats:
        """Parameter vectors to start a fit from, `[S, K]`."""

    @abstractmethod
    def constants(self, theta_SK: Floats, centre: Centre) -> dict[str, Floats]:
        """The constants of the formula in the units of the points, `[S]` each."""

    def revived(self, theta_K: Floats) -> Floats:
        """The parameters where a fit to other points may start: at nothing that it could not come back from, `[K]`."""
        return theta_K


class SumOfTerms(Form):
    """L = the sum of positive terms."""

    def __init__(self, name: str, formula: str, axes: tuple[Axis, ...], terms: Sequence[Term]) -> None:
        self.name, self.formula, self.axes, self._terms = name, formula, axes, terms
        sizes = [1 + len(term.shapes[0]) for term in terms]
        ends = np.cumsum(sizes)
        self._places = [slice(int(end - size), int(end)) for end, size in zip(ends, sizes, strict=True)]
        self.num_parameters = int(ends[-1])

    def log_loss(self, theta_SK: Floats, logs: Logs) -> tuple[Floats, Floats]:
        values, derivatives = [], []
        for term, place in zip(self._terms, self._places, strict=True):
            value_SP, by_parameter = term.log_value(theta_SK[:, place], logs)
            values.append(value_SP)
            derivatives.append(by_parameter)
        peak_SP = np.maximum.reduce(values)
        parts = [np.exp(value_SP - peak_SP) for value_SP in values]
        total_SP = np.add.reduce(parts)
        jacobian_SPK = np.empty((*total_SP.shape, self.num_parameters))
        for part_SP, by_parameter, place in zip(parts, derivatives, self._places, strict=True):
            share_SP = part_SP / total_SP
            for column, derivative_SP in zip(range(place.start, place.stop), by_parameter, strict=True):
                np.multiply(share_SP, derivative_SP, out=jacobian_SPK[..., column])
        return peak_SP + np.log(total_SP), jacobian_SPK

    def starts(self) -> Floats:
        """Every mix of shares of the loss at the centre and shapes of the terms."""
        mixes = [mix for mix in product(_SHARES, repeat=len(self._terms)) if 0.5 <= sum(mix) <= 1.5]
        if len(self._terms) == 1:
            mixes = [(1.0,)]
        shapes = product(*(term.shapes for term in self._terms))
        return np.array(
            [
                [number for share, shape in zip(mix, shape_of, strict=True) for number in (np.log(share), *shape)]
                for shape_of in shapes
                for mix in mixes
            ]
        )

    def revived(self, theta_K: Floats) -> Floats:
        """No term is smaller than some percent of the loss: one that vanished has no gradient left."""
        lowest_K = np.full(len(theta_K), -np.inf)
        lowest_K[[place.start for place in self._places]] = np.log(_ALIVE)
        return np.maximum(theta_K, lowest_K)

    def constants(self, theta_SK: Floats, centre: Centre) -> dict[str, Floats]:
        named: dict[str, Floats] = {}
        for term, place in zip(self._terms, self._places, strict=True):
            named |= term.constants(theta_SK[:, place], centre)
        return named


class Kaplan(Form):
    """L = ((N_c/N)^(α_N/α_D) + D_c/D)^α_D (Kaplan et al. 2020, eq. 1.5); the first two parameters are logarithms."""

    name, formula = "kaplan", "((N_c/N)^(α_N/α_D) + D_c/D)^α_D"
    axes: tuple[Axis, ...] = ("N", "D")
    num_parameters = 4

    def log_loss(self, theta_SK: Floats, logs: Logs) -> tuple[Floats, Floats]:
        by_n, by_d = np.exp(np.clip(theta_SK[:, :2], -20.0, 5.0)).T[..., None]
        from_n = theta_SK[:, 2:3] - logs["N"]
        first, second = by_n / by_d * from_n, theta_SK[:, 3:4] - logs["D"]
        log_sum = np.logaddexp(first, second)
        share = np.exp(first - log_sum)
        columns = [share * from_n * by_n, (log_sum - share * first) * by_d, share * by_n, (1 - share) * by_d]
        return by_d * log_sum, np.stack(columns, -1)

    def starts(self) -> Floats:
        rows = []
        for by_n, by_d, share in product(EXPONENTS[:6], EXPONENTS[:6], (0.1, 0.5, 0.9)):
            rows.append((np.log(by_n), np.log(by_d), by_d / by_n * np.log(share), np.log(1 - share)))
        return np.array(rows)

    def constants(self, theta_SK: Floats, centre: Centre) -> dict[str, Floats]:
        by_n, by_d = np.exp(np.clip(theta_SK[:, :2], -20.0, 5.0)).T
        logs_n = theta_SK[:, 2] + centre.logs["N"] + centre.log_loss / by_n
        logs_d = theta_SK[:, 3] + centre.logs["D"] + centre.log_loss / by_d
        scales = (np.exp(np.clip(value, -700.0, 700.0)) for value in (logs_n, logs_d))
        return dict(zip(("N_c", "D_c", "α_N", "α_D"), (*scales, by_n, by_d), strict=True))


class LogLinear(Form):
    """L = c − p·ln N − q·ln D: the same gain from each doubling, for ever."""

    name = "log_linear"

    def __init__(self, axes: tuple[Axis, ...]) -> None:
        self.axes = axes
        self.formula = "c" + "".join(f" - p_{axis}·ln {axis}" for axis in axes)
        self.num_parameters = 1 + len(axes)

    def log_loss(self, theta_SK: Floats, logs: Logs) -> tuple[Floats, Floats]:
        design_PK = np.stack([np.ones_like(logs["N"]), *(-logs[axis] for axis in self.axes)], -1)
        value_SP = theta_SK @ design_PK.T
        slope_SP = np.where(value_SP > _LOWEST, 1 / np.maximum(value_SP, _LOWEST), 0.0)
        return np.log(np.maximum(value_SP, _LOWEST)), design_PK * slope_SP[..., None]

    def starts(self) -> Floats:
        return np.array([[1.0, *gains] for gains in product((0.0, 0.02, 0.1), repeat=len(self.axes))])

    def constants(self, theta_SK: Floats, centre: Centre) -> dict[str, Floats]:
        scaled_SK = theta_SK * np.exp(centre.log_loss)
        zeros = np.array([centre.logs[axis] for axis in self.axes])
        gains = {f"p_{axis}": scaled_SK[:, 1 + place] for place, axis in enumerate(self.axes)}
        return {"c": scaled_SK[:, 0] + scaled_SK[:, 1:] @ zeros} | gains


_NAMES: dict[Axis, tuple[str, str]] = {"N": ("A", "α"), "D": ("B", "β"), "C": ("K", "γ")}


def power_law(*axes: Axis) -> SumOfTerms:
    """E and a power law in each axis: for N and D the law of Hoffmann et al. 2022 (Approach 3)."""
    terms = [Power(axis, *_NAMES[axis]) for axis in axes]
    formula = "E" + "".join(f" + {_NAMES[axis][0]}/{axis}^{_NAMES[axis][1]}" for axis in axes)
    return SumOfTerms("power_law" if axes == ("N", "D") else f"power_law_{axes[0]}", formula, axes, [Floor(), *terms])


def saturating(*axes: Axis) -> SumOfTerms:
    """E and a stretched exponential in each axis."""
    terms = [Saturating(axis, _NAMES[axis][0]) for axis in axes]
    formula = "E" + "".join(f" + {_NAMES[axis][0]}·exp(-({axis}/{axis}_scale)^{axis}_power)" for axis in axes)
    return SumOfTerms("saturating", formula, axes, [Floor(), *terms])


def broken(axis: Axis, *axes: Axis) -> SumOfTerms:
    """E and power laws, the one in `axis` with a break."""
    terms: list[Term] = [(Broken if other == axis else Power)(other, *_NAMES[other]) for other in axes]
    formula = power_law(*axes).formula + f", another exponent beyond {axis}_break"
    return SumOfTerms(f"broken_{axis}", formula, axes, [Floor(), *terms])


def constant() -> SumOfTerms:
    """No law at all."""
    return SumOfTerms("constant", "E", (), [Floor()])


def rivals(axes: tuple[Axis, ...]) -> list[Form]:
    """Every form that points which vary along these axes are compared by; the main law comes first."""
    forms: list[Form] = [power_law(*axes), LogLinear(axes), saturating(*axes), *(broken(axis, *axes) for axis in axes)]
    if axes == ("N", "D"):
        forms += [Kaplan(), power_law("N"), power_law("D"), power_law("C")]
    return [*forms, constant()]
