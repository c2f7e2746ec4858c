"""The terms that laws are summed from; each says its logarithm, so that it stays positive and never overflows.

Shapes: S parameter vectors, P points, K parameters of the term.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Protocol

import numpy as np

from ray_userrep.scaling.law.points import Axis, Centre, Floats

Logs = Mapping[Axis, Floats]
EXPONENTS = (0.03, 0.1, 0.2, 0.35, 0.5, 0.8, 1.2, 2.0)  # to start from
_SHARPNESS = 2.0  # of a break: most of it happens within a factor of e to each side


class Term(Protocol):
    """One positive term of a sum; the first of its parameters is the logarithm of its size at the centre."""

    shapes: Sequence[tuple[float, ...]]  # starts of the parameters after the first

    def log_value(self, theta_SK: Floats, logs: Logs) -> tuple[Floats, list[Floats]]:
        """The term's logarithm and its derivatives by each parameter, `[S, P]` each."""
        ...

    def constants(self, theta_SK: Floats, centre: Centre) -> dict[str, Floats]: ...


class Floor:
    """E: what neither size nor data takes away."""

    shapes: Sequence[tuple[float, ...]] = ((),)

    def log_value(self, theta_SK: Floats, logs: Logs) -> tuple[Floats, list[Floats]]:
        ones_P = np.ones_like(logs["N"])
        return theta_SK[:, :1] * ones_P, [np.broadcast_to(ones_P, (len(theta_SK), len(ones_P)))]

    def constants(self, theta_SK: Floats, centre: Centre) -> dict[str, Floats]:
        return {"E": np.exp(theta_SK[:, 0] + centre.log_loss)}


class Power:
    """A/N^α."""

    def __init__(self, axis: Axis, scale: str, exponent: str) -> None:
        self._axis, self._scale, self._exponent = axis, scale, exponent
        self.shapes: Sequence[tuple[float, ...]] = [(exponent,) for exponent in EXPONENTS]

    def log_value(self, theta_SK: Floats, logs: Logs) -> tuple[Floats, list[Floats]]:
        x_P = logs[self._axis]
        value_SP = theta_SK[:, :1] - theta_SK[:, 1:2] * x_P
        return value_SP, [np.ones_like(value_SP), np.broadcast_to(-x_P, value_SP.shape)]

    def constants(self, theta_SK: Floats, centre: Centre) -> dict[str, Floats]:
        log_scale = theta_SK[:, 0] + centre.log_loss + theta_SK[:, 1] * centre.logs[self._axis]
        return {self._scale: np.exp(np.minimum(log_scale, 700.0)), self._exponent: theta_SK[:, 1]}


class Broken:
    """A/N^α up to a size, another exponent beyond it (one break of Caballero et al., ICLR 2023)."""

    shapes: Sequence[tuple[float, ...]] = list(product((0.1, 0.3, 0.7), (-0.2, 0.4), (-2.0, 0.0, 2.0)))

    def __init__(self, axis: Axis, scale: str, exponent: str) -> None:
        self._axis, self._scale, self._exponent = axis, scale, exponent

    def log_value(self, theta_SK: Floats, logs: Logs) -> tuple[Floats, list[Floats]]:
        x_P = logs[self._axis]
        beyond_SP = _SHARPNESS * (x_P - theta_SK[:, 3:4])
        soft_SP = np.logaddexp(0.0, beyond_SP) / _SHARPNESS
        value_SP = theta_SK[:, :1] - theta_SK[:, 1:2] * x_P - theta_SK[:, 2:3] * soft_SP
        past_SP = 0.5 * (1 + np.tanh(beyond_SP / 2))
        by_exponent = np.broadcast_to(-x_P, value_SP.shape)
        return value_SP, [np.ones_like(value_SP), by_exponent, -soft_SP, theta_SK[:, 2:3] * past_SP]

    def constants(self, theta_SK: Floats, centre: Centre) -> dict[str, Floats]:
        zero = centre.logs[self._axis]
        log_scale = theta_SK[:, 0] + centre.log_loss + theta_SK[:, 1] * zero
        return {
            self._scale: np.exp(np.minimum(log_scale, 700.0)),
            self._exponent: theta_SK[:, 1],
            f"{self._exponent}_beyond": theta_SK[:, 1] + theta_SK[:, 2],
            f"{self._axis}_break": np.exp(np.clip(theta_SK[:, 3] + zero, -700.0, 700.0)),
        }


class Saturating:
    """A·exp(−(N/N₀)^κ): gains that end at some size, where a power law's go on."""

    shapes: Sequence[tuple[float, ...]] = list(product((0.25, 0.5, 1.0), (-2.0, 0.0, 2.0)))

    def __init__(self, axis: Axis, scale: str) -> None:
        self._axis, self._scale = axis, scale

    def log_value(self, theta_SK: Floats, logs: Logs) -> tuple[Floats, list[Floats]]:
        from_SP = logs[self._axis] - theta_SK[:, 2:3]
        power_SP = np.exp(np.minimum(theta_SK[:, 1:2] * from_SP, 6.0))
        derivatives = [np.ones_like(power_SP), -from_SP * power_SP, theta_SK[:, 1:2] * power_SP]
        return theta_SK[:, :1] - power_SP, derivatives

    def constants(self, theta_SK: Floats, centre: Centre) -> dict[str, Floats]:
        return {
            self._scale: np.exp(np.minimum(theta_SK[:, 0] + centre.log_loss, 700.0)),
            f"{self._axis}_scale": np.exp(np.clip(theta_SK[:, 2] + centre.logs[self._axis], -700.0, 700.0)),
            f"{self._axis}_power": theta_SK[:, 1],
        }
