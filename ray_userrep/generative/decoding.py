"""Answers by beam search: free, or only along the names that there are.

A trie of names says which token may follow, so that every answer is one of them and no two beams are the same. Names
that a user is not to get, such as items seen, are left out of the trie by counting: a branch is open while it holds a
name that is not left out. The functions that transformers ask for are called token by token in Python: fit for some
thousand users, not for millions.

Shapes: R prompts, K answers of each, V names.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.corpus.jagged import ranges
from ray_userrep.feed.batch import Batch
from ray_userrep.generative.likelihood import inputs
from ray_userrep.generative.model import TextModel
from ray_userrep.generative.rows import WORD
from ray_userrep.generative.tokens import Encoded

_BATCH_BEAMS = 512
NONE = -1

Allowed = Callable[[int, Tensor], list[int]]  # from the row of a prompt and the tokens so far to those that may follow


class _Branch(NamedTuple):
    """The names below a prefix, as a range of the sorted names, and where each next token leads."""

    low: int
    high: int
    next: dict[int, tuple[int, ...]]


class Trie:
    """All names as tokens, the end of each among them."""

    def __init__(self, names: Sequence[Sequence[int]]) -> None:
        order = sorted(range(len(names)), key=lambda name: list(names[name]))
        self._place = {name: place for place, name in enumerate(order)}
        self._sorted = [tuple(names[name]) for name in order]
        self._of = {tuple(tokens): name for name, tokens in enumerate(names)}
        self.longest = max(map(len, names))
        self._branches: dict[tuple[int, ...], _Branch] = {}
        for place, tokens in enumerate(self._sorted):
            for length in range(len(tokens) + 1):
                low, _, leads = self._branches.get(tokens[:length], _Branch(place, place, {}))
                if length < len(tokens):
                    leads[tokens[length]] = tokens[: length + 1]
                self._branches[tokens[:length]] = _Branch(low, place + 1, leads)

    def name(self, tokens: Sequence[int]) -> int:
        """Which name these tokens are; NONE where they are none."""
        return self._of.get(tuple(tokens), NONE)

    def allowed(self, left_out: Sequence[Collection[int]], pad: int) -> Allowed:
        """Which tokens may follow in the answers to each prompt, with the distinct names that are left out of each."""
        closed = [sorted(self._place[name] for name in names) for names in left_out]

        def after(row: int, tokens: Tensor) -> list[int]:
            prefix = tuple(tokens.tolist()[1:])  # the first starts every answer
            branch = self._branches.get(prefix)
            open_ = [] if branch is None else self._open(branch, len(prefix), closed[row])
            return open_ or [pad]  # an answer that has ended, or a beam that has nowhere to go

        return after

    def _open(self, branch: _Branch, depth: int, closed: list[int]) -> list[int]:
        """The next tokens below a branch that lead to a name which is not left out; few are, of many."""
        inside = closed[bisect_left(closed, branch.low) : bisect_left(closed, branch.high)]
        counts = Counter(self._sorted[place][depth] for place in inside if len(self._sorted[place]) > depth)
        shut = {token for token, count in counts.items() if count == self._size(branch.next[token])}
        return [token for token in branch.next if token not in shut] if shut else list(branch.next)

    def _size(self, prefix: tuple[int, ...]) -> int:
        low, high, _ = self._branches[prefix]
        return high - low


def generate(
    model: TextModel,
    prompts: Encoded,
    num_answers: int,
    longest: int,
    allowed: Callable[[NDArray[np.int64]], Allowed] | None = None,
) -> list[list[list[int]]]:
    """The likeliest answers to each prompt as tokens with their end, the likeliest first: `[R][K]`.

    `allowed` gives what may follow for some of the prompts; without it everything may. Prompts of like lengths are read
    together.
    """
    order = np.argsort(np.diff(prompts.offsets_R1), kind="stable")
    found: dict[int, list[list[int]]] = {}
    step = max(1, _BATCH_BEAMS // num_answers)
    searching: Any = model  # transformers types `generate` for a protocol that its own models do not meet
    for rows in (order[first : first + step] for first in range(0, len(order), step)):
        with torch.inference_mode():
            tokens: Tensor = searching.generate(
                **inputs(model, _batch(prompts, rows).to(model.device)),
                num_beams=num_answers,
                num_return_sequences=num_answers,
                max_new_tokens=longest,
                do_sample=False,
                length_penalty=0.0,  # beams are ordered by likelihood alone
                pad_token_id=model.pad,
                eos_token_id=model.end,
                decoder_start_token_id=model.pad,
                prefix_allowed_tokens_fn=None if allowed is None else allowed(rows),
            )
        answers = [_ended(one, model.end) for one in tokens[:, 1:].tolist()]
        found |= {int(row): answers[k * num_answers : (k + 1) * num_answers] for k, row in enumerate(rows)}
    return [found[row] for row in range(len(order))]


def generate_names(
    model: TextModel,
    prompts: Encoded,
    trie: Trie,
    num_answers: int,
    left_out: Sequence[Collection[int]] | None = None,
) -> NDArray[np.int64]:
    """The likeliest names for each prompt, without those left out of it; NONE where there are fewer, `[R, K]`."""
    gone: Sequence[Collection[int]] = [()] * (len(prompts.offsets_R1) - 1) if left_out is None else left_out
    found = generate(
        model, prompts, num_answers, trie.longest, lambda rows: trie.allowed([gone[row] for row in rows], model.pad)
    )
    names_RK = np.full((len(found), num_answers), NONE)
    for row, answers in enumerate(found):
        names = dict.fromkeys(trie.name(answer) for answer in answers)
        kept = [name for name in names if name != NONE and name not in gone[row]]
        names_RK[row, : len(kept)] = kept
    return names_RK


def _batch(prompts: Encoded, rows: NDArray[np.int64]) -> Batch:
    lengths = np.diff(prompts.offsets_R1)[rows]
    place = ranges(prompts.offsets_R1[rows], lengths)
    return Batch(
        values_T=torch.from_numpy(prompts.ids_N[place]),
        offsets_B1=torch.from_numpy(np.append(0, np.cumsum(lengths)).astype(np.int32)),
        users_B=torch.from_numpy(rows),
        max_len=int(lengths.max()),
        side={WORD: torch.from_numpy(prompts.words_N[place])},
    )


def _ended(tokens: list[int], end: int) -> list[int]:
    """An answer up to its end."""
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens
