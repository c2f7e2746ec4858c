"""When and how often a user came, as eight numbers of a user vector beside its bag, which only knows what was taken.

Recency and frequency predict a return better than any list of items does. They are counted in whole days: that is
coarse enough for two parts of a history to be joined exactly without reading either again, and hours hardly matter.
What counts is visits, days with any interaction: a basket of thirty items is one visit. Visits fade by half-lives, so
that how often a user came lately and in former years are numbers of their own, and logarithms make them fit for linear
models.

Shapes: T tokens, B histories, H half-lives, S numbers of a state, F of what is made of it.
"""

import torch
from torch import Tensor, nn

from ray_userrep.encoder.readout import window_sums
from ray_userrep.recipe.encoder import TEMPO_WIDTH

DAY = 86_400 * 10**6  # us
Moments = int | Tensor  # us: one for all histories, or one of each, `[B]`
_HALF_LIVES = (7.0, 30.0, 90.0, 365.0)  # days
_OLDEST, _NEWEST, _INTERACTIONS, _VISITS = range(4)  # of a state; then the visits faded up to its newest day
STATE_WIDTH = 4 + len(_HALF_LIVES)
_LEAST_SPREAD = 0.1  # of a logarithm: what is about the same of everybody is not blown up


class Tempo(nn.Module):
    """States as numbers of the size of a bag's: how large those are, and around what, is fitted as the bag's map is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([torch.ones(TEMPO_WIDTH), torch.zeros(TEMPO_WIDTH)]), False)

    def forward(self, states_BS: Tensor, until: Moments | None) -> Tensor:
        """Scaled numbers as of a moment (us), or of each history's newest day, `[B, F]`; zeros for empty histories."""
        scale_F, centre_F = self.weight
        is_there_B1 = states_BS[:, _INTERACTIONS, None] > 0
        return (tempo_numbers(states_BS, until) - centre_F) * scale_F * is_there_B1

    def fit(self, states_US: Tensor, until: int, deviation: float) -> None:
        """Bring these users' numbers to mean zero and this deviation."""
        if not len(states_US):
            return
        numbers_UF = tempo_numbers(states_US, until)
        scale_F = deviation / numbers_UF.std(0, correction=0).clamp(min=_LEAST_SPREAD)
        self.weight.data = torch.stack([scale_F, numbers_UF.mean(0)])


def tempo_states(times_T: Tensor, offsets_B1: Tensor) -> Tensor:
    """What is remembered of the times (us, oldest first) of each history, `[B, S]`; zeros where it is empty."""
    day_T = torch.div(times_T, DAY, rounding_mode="floor")
    lengths_B = offsets_B1.diff()
    has_any_B = lengths_B > 0
    padded_T1 = torch.cat([day_T, day_T.new_zeros(1)])
    oldest_B = padded_T1[torch.where(has_any_B, offsets_B1[:-1], day_T.shape[0]).long()]
    newest_B = padded_T1[torch.where(has_any_B, offsets_B1[1:] - 1, day_T.shape[0]).long()]
    is_first_T1 = padded_T1.new_zeros(padded_T1.shape[0], dtype=torch.bool)
    is_first_T1[offsets_B1[:-1].long()] = True
    is_visit_T = is_first_T1[:-1] | (day_T != day_T.roll(1))
    age_T = torch.repeat_interleave(newest_B, lengths_B, output_size=day_T.shape[0]) - day_T
    visits_TH = is_visit_T[:, None] * torch.cat([torch.ones_like(age_T)[:, None], _faded(age_T)], 1)
    counted_B = window_sums(visits_TH.float(), offsets_B1)
    return torch.cat([torch.stack([oldest_B, newest_B, lengths_B], 1).float(), counted_B], 1)


def joined_states(old_BS: Tensor, new_BS: Tensor) -> Tensor:
    """The states of histories from those of an older and a newer part of each, `[B, S]`.

    The newer part begins on the day on which the older one ends, at the earliest (`follows`).
    """
    same_day_B = (new_BS[:, _OLDEST] == old_BS[:, _NEWEST]).float()  # one visit that both have counted
    fading_BH = _faded(new_BS[:, _NEWEST] - old_BS[:, _NEWEST])
    both_BS = torch.cat(
        [
            torch.stack(
                [old_BS[:, _OLDEST], new_BS[:, _NEWEST], old_BS[:, _INTERACTIONS] + new_BS[:, _INTERACTIONS]], 1
            ),
            (old_BS[:, _VISITS] - same_day_B + new_BS[:, _VISITS])[:, None],
            (old_BS[:, _VISITS + 1 :] - same_day_B[:, None]) * fading_BH + new_BS[:, _VISITS + 1 :],
        ],
        dim=1,
    )
    has_old_B1, has_new_B1 = old_BS[:, _INTERACTIONS, None] > 0, new_BS[:, _INTERACTIONS, None] > 0
    return torch.where(has_old_B1 & has_new_B1, both_BS, torch.where(has_old_B1, old_BS, new_BS))


def follows(old_BS: Tensor, new_BS: Tensor) -> Tensor:
    """Whether the newer part of each history begins no earlier than the day on which the older one ends, `[B]`."""
    return (new_BS[:, _OLDEST] >= old_BS[:, _NEWEST]) | (old_BS[:, _INTERACTIONS] == 0)


def tempo_numbers(states_BS: Tensor, until: Moments | None) -> Tensor:
    """Log days since the newest and the oldest interaction, log interactions, visits and faded visits, `[B, F]`."""
    newest_B = states_BS[:, _NEWEST]
    end_B = newest_B
    if until is not None:
        end_B = torch.as_tensor(until // DAY, dtype=newest_B.dtype, device=newest_B.device).expand_as(newest_B)
    since_B = (end_B - newest_B).clamp(min=0)
    columns = [
        since_B,
        (end_B - states_BS[:, _OLDEST]).clamp(min=0),
        states_BS[:, _INTERACTIONS],
        states_BS[:, _VISITS],
    ]
    return torch.cat([torch.stack(columns, 1), states_BS[:, _VISITS + 1 :] * _faded(since_B)], 1).log1p()


def _faded(days_N: Tensor) -> Tensor:
    """What is left of one visit after so many days, `[N, H]`."""
    return torch.exp2(-days_N[:, None] / days_N.new_tensor(_HALF_LIVES, dtype=torch.float32))
