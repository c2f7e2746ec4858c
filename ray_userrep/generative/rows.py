"""Rows of text as what the plan and the stream know: a corpus whose sequences are tokens, one row of it a window.

A row is a prompt filled with an interaction, its answer behind it; which prompt of a family an interaction is asked
with is drawn once, so that lengths are known to the plan before an epoch. Texts are made when a bucket is read, on
every worker, and thrown away with it: that costs time on the CPU, and no place on a disk.

Shapes: R rows, N tokens of all of them.
"""

import string
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep.corpus import draws
from ray_userrep.corpus.jagged import ranges
from ray_userrep.corpus.splits import NONE, Split, SplitPart
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.generative.explanations import explained
from ray_userrep.generative.lexicon import Lexicon, rating_texts, user_names
from ray_userrep.generative.prompts import Prompt, of_families
from ray_userrep.generative.subjects import Subjects, held_out, learned
from ray_userrep.generative.tokens import Encoded
from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.generative import GenerativeConfig

WORD = "word"  # side column: which word of its prompt a token is of; ANSWER in an answer
ANSWER = -1
_PROMPT, _IS_OTHER, _OTHER, _ROW = 62, 63, 64, 65  # what a draw is for
_UNKNOWN = pa.scalar(None, pa.string())
_SPARE = 4  # other items drawn for each, so that one is nearly always free


class Writer:
    """Fills prompts with subjects: as texts, and as tokens."""

    def __init__(self, lexicon: Lexicon, config: GenerativeConfig, stream: StreamConfig, seed: int) -> None:
        self.lexicon, self._config, self._seed = lexicon, config, seed
        self._names, self._features = lexicon.names(), pa.array(lexicon.features, pa.string())
        self._max_source = stream.max_len - config.max_target

    def written(self, prompt: Prompt, subjects: Subjects) -> tuple[NDArray[np.int64], pa.Array, pa.Array]:
        """Which subjects have all that the prompt tells, and its texts and answers for these."""
        told = {name: self._field(name, subjects) for name in dict.fromkeys(prompt.fields)}
        there = np.logical_and.reduce([column.is_valid().to_numpy(zero_copy_only=False) for column in told.values()])
        rows = np.flatnonzero(there)
        kept = {name: column.take(pa.array(rows)) for name, column in told.items()}
        pieces = [
            piece
            for literal, name, _, _ in string.Formatter().parse(prompt.source)
            for piece in (literal, *([kept[name]] if name else []))
        ]
        return rows, pc.binary_join_element_wise(*pieces, ""), kept[prompt.answer]

    def source(self, texts: pa.Array) -> Encoded:
        """Prompts as tokens."""
        return self.lexicon.vocabulary.encode(texts, self._max_source)

    def bucket(self, subjects: Subjects, prompts: Sequence[Prompt]) -> Bucket:
        """Every subject asked once by each family that tells of it, with a prompt drawn from the family's."""
        parts = []
        for family in dict.fromkeys(prompt.family for prompt in prompts):
            own = [prompt for prompt in prompts if prompt.family == family]
            drawn_R = self._draw(_PROMPT, subjects, _code(family))
            choice_R = (drawn_R * len(own)).astype(np.int64)
            for number, prompt in enumerate(own):
                parts.append(self._rows(prompt, subjects.take(np.flatnonzero(choice_R == number))))
        return _joined(parts)

    def _rows(self, prompt: Prompt, subjects: Subjects) -> Bucket:
        rows, sources, answers = self.written(prompt, subjects)
        source, answer = self.source(sources), self.lexicon.vocabulary.encode(answers, self._config.max_target)
        lengths = np.stack([np.diff(source.offsets_R1), np.diff(answer.offsets_R1)], 1)
        # Sources and answers lie end to end by themselves; what is read is each source with its answer behind it.
        starts = np.stack([source.offsets_R1[:-1], answer.offsets_R1[:-1] + len(source.ids_N)], 1)
        place_N = ranges(starts.ravel(), lengths.ravel())
        words_N = np.append(source.words_N, np.full(len(answer.ids_N), ANSWER))[place_N]
        subject = subjects.hash_R[rows], subjects.place_R[rows]
        return Bucket(
            user_ids=pa.nulls(len(rows)),  # a row has no id
            user_hash_U=draws.bits(_ROW, _code(prompt.name), *subject).view(np.int64),
            offsets_U1=np.append(0, np.cumsum(lengths.sum(1))),
            items_N=np.append(source.ids_N, answer.ids_N)[place_N],
            timestamps_N=np.zeros(len(place_N), np.int64),
            side_N={WORD: words_N},
        )

    def _field(self, name: str, subjects: Subjects) -> pa.Array:
        """What a field of a prompt is filled with, null where nothing is known, `[R]`."""
        match name:
            case "user":
                return user_names(subjects.user_R)
            case "item":
                return self._names.take(pa.array(subjects.item_R))
            case "history":
                return self._histories(subjects)
            case "rating":
                return self._ratings(subjects)
            case "review" | "summary":
                text = pc.utf8_trim_whitespace(subjects.texts[name])
                return pc.if_else(pc.equal(pc.utf8_length(text), 0), _UNKNOWN, text)
            case "feature":
                return explained(subjects.texts["review"], self._features)[0]
            case "explanation":
                return explained(subjects.texts["review"], self._features)[1]
            case "candidate":
                item_R = np.where(self._is_other(subjects), self._others(subjects), subjects.item_R)
                return self._names.take(pa.array(item_R, mask=item_R == NONE))
            case "verdict":
                return pc.if_else(pa.array(self._is_other(subjects)), "no", "yes")
        raise AssertionError(f"no prompt may have a field {name!r}")

    def _histories(self, subjects: Subjects) -> pa.Array:
        lists = pa.ListArray.from_arrays(
            pa.array(subjects.offsets_R1.astype(np.int32)), self._names.take(pa.array(subjects.history_H))
        )
        texts = pc.binary_join(lists, " ")
        return pc.if_else(pc.equal(pc.list_value_length(lists), 0), _UNKNOWN, texts)

    def _ratings(self, subjects: Subjects) -> pa.Array:
        values = np.array(self.lexicon.ratings, np.float64)
        place_R = np.searchsorted(values, subjects.rating_R).clip(max=max(0, len(values) - 1))
        known_R = values[place_R] == subjects.rating_R if len(values) else np.zeros(len(place_R), bool)
        return rating_texts(values.tolist()).take(pa.array(place_R, mask=~known_R))

    def _is_other(self, subjects: Subjects) -> NDArray[np.bool_]:
        return self._draw(_IS_OTHER, subjects, 0) < 0.5

    def _others(self, subjects: Subjects) -> NDArray[np.int64]:
        """Items drawn at random, none that is the subject's or held out for its user; NONE where no draw was free."""
        draw_SR = np.stack([self._draw(_OTHER, subjects, place) for place in range(_SPARE)])
        item_SR = (draw_SR * len(self._names)).astype(np.int64)
        taken_R3 = np.concatenate([subjects.held_R2, subjects.item_R[:, None]], 1)
        free_SR = (item_SR[:, :, None] != taken_R3).all(2)
        first_R = np.take_along_axis(item_SR, free_SR.argmax(0)[None], 0)[0]
        return np.where(free_SR.any(0), first_R, NONE)

    def _draw(self, purpose: int, subjects: Subjects, more: int) -> NDArray[np.float64]:
        return draws.uniforms(purpose, self._seed, more, subjects.hash_R, subjects.place_R)


class TextCorpus(Corpus):
    """A corpus's interactions as rows of text, asked with prompts that are trained on; each row is a sequence."""

    def __init__(self, corpus: Corpus, split: Split, writer: Writer, config: GenerativeConfig, num_kept: int) -> None:
        super().__init__(corpus.uri, corpus.manifest.model_copy(update={"domains": {}}))
        self._log, self._split, self._writer, self._max_history = corpus, split, writer, config.max_history
        self._prompts = [prompt for prompt in of_families(config.families) if prompt.is_seen]
        self._kept = lru_cache(num_kept)(self._write)

    def bucket(self, number: int, side: Sequence[str] = ()) -> Bucket:
        """The rows that are trained on, of a bucket's users."""
        return self._kept(number)

    def held_out(self, part: SplitPart, number: int) -> Bucket:
        """The rows of what is held out of a bucket's users."""
        subjects = held_out(self._log, self._split, part, number, self._max_history)
        return self._writer.bucket(subjects, self._prompts)

    def _write(self, number: int) -> Bucket:
        return self._writer.bucket(learned(self._log, self._split, number, self._max_history), self._prompts)


class WholeRows:
    """The cut of rows: all of each is trained on."""

    def training(self, bucket: Bucket) -> tuple[Bucket, NDArray[np.int64]]:
        return bucket, bucket.lengths_U

    def train_lengths(self, corpus: Corpus, number: int) -> NDArray[np.int64]:
        return corpus.bucket(number).lengths_U


def _joined(parts: Sequence[Bucket]) -> Bucket:
    lengths_U = np.concatenate([part.lengths_U for part in parts])
    return Bucket(
        user_ids=pa.nulls(len(lengths_U)),
        user_hash_U=np.concatenate([part.user_hash_U for part in parts]),
        offsets_U1=np.append(0, np.cumsum(lengths_U)),
        items_N=np.concatenate([part.items_N for part in parts]),
        timestamps_N=np.concatenate([part.timestamps_N for part in parts]),
        side_N={WORD: np.concatenate([part.side_N[WORD] for part in parts])},
    )


def _code(name: str) -> int:
    """A number that stands for a name in draws."""
    return int(draws.hash_ids(pa.array([name]))[0])
