"""A model of text measured by what it answers: items by their rank among all, ratings by their error, texts by overlap.

For each kind of answer of a family two prompts are asked, one that was trained on and the one that was not. Items are
searched for in the catalogue, ratings among the values that occur: every answer counts, none is dropped for not being
one. How many would be none is counted apart, without the trie. Users are those that encoders are measured on.

Shapes: R rows, K answers of each, V items.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.evaluation.histories import Histories, read_histories
from ray_userrep.evaluation.metrics import mae, rmse
from ray_userrep.evaluation.statistics import estimate, mean_interval, summary
from ray_userrep.generative.decoding import NONE, Trie, generate, generate_names
from ray_userrep.generative.lexicon import Lexicon, first_seen, rating_texts
from ray_userrep.generative.model import TextModel
from ray_userrep.generative.prompts import Prompt, of_families
from ray_userrep.generative.rows import Writer
from ray_userrep.generative.simple import MISSED, commonest_text, counting_ranks, item_means, trained_ratings
from ray_userrep.generative.subjects import Subjects, held_out, joined, learned
from ray_userrep.generative.tokens import Vocabulary
from ray_userrep.generative.wording import bleu, rouge
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.recipe import Recipe

Figures = dict[str, dict[str, float]]
Kind = Literal["item", "rating", "text", "verdict"]
_BLEU_ORDERS = (2, 4)


def kind_of(prompt: Prompt) -> Kind:
    """Which kind of answer a prompt has."""
    match prompt.answer:
        case "item" | "rating" | "verdict":
            return prompt.answer
        case "summary" | "explanation":
            return "text"
        case never:
            assert_never(never)


def measured_prompts(recipe: Recipe) -> list[Prompt]:
    """Of each family and field that is answered the first prompt that is trained on, and those that are not."""
    chosen: dict[tuple[str, str, bool], Prompt] = {}
    for prompt in of_families(recipe.generative.families):
        chosen.setdefault((prompt.family, prompt.answer, prompt.is_seen), prompt)
    return list(chosen.values())


class TextMeasure:
    """What is asked of a model, and of whom."""

    def __init__(self, recipe: Recipe, corpus: Corpus, split: Split, model: TextModel, lexicon: Lexicon) -> None:
        self._config, self._evaluation, self._model = recipe.generative, recipe.evaluation, model
        self._corpus, self._split, self._lexicon = corpus, split, lexicon
        self._writer = Writer(lexicon, recipe.generative, recipe.stream, recipe.seed)
        self.histories = read_histories(corpus, split, "test", recipe.evaluation.max_users)
        self._subjects = _subjects(corpus, split, self.histories, recipe.generative.max_history)
        self._items = Trie(_tokens(lexicon.vocabulary, lexicon.names()))

    def prompt(self, prompt: Prompt) -> dict[str, Any]:
        """What is asked, of how many, and the figures of the answers; none where nobody can be asked."""
        rows, sources, answers = self._writer.written(prompt, self._subjects)
        return {
            "family": prompt.family,
            "seen": prompt.is_seen,
            "asked": prompt.source,
            "kind": kind_of(prompt),
            "rows": len(rows),
            "metrics": self._figures(kind_of(prompt), rows, sources, answers) if len(rows) else {},
        }

    def _figures(self, kind: Kind, rows: NDArray[np.int64], sources: pa.Array, answers: pa.Array) -> Figures:
        match kind:
            case "item":
                return self._ranking(rows, sources)
            case "rating":
                return self._rating(rows, sources)
            case "verdict":
                return self._verdict(sources, answers)
            case "text":
                return self._text(sources, answers)
            case never:
                assert_never(never)

    def invalid(self, prompt: Prompt) -> dict[str, float]:
        """Shares of answers that are no item, or an item for the second time, without the trie and with it."""
        few = self._subjects.take(np.arange(min(self._config.unconstrained, len(self._subjects.item_R))))
        rows, sources, _ = self._writer.written(prompt, few)
        given, beams = self._writer.source(sources), self._config.beams
        free = generate(self._model, given, beams, self._items.longest)
        texts = self._lexicon.vocabulary.decode([answer for answers in free for answer in answers])
        known = pc.fill_null(pc.index_in(pa.array(texts), self._lexicon.names()), NONE).to_numpy()
        bound_RK = generate_names(self._model, given, self._items, beams)
        return {
            "users": len(rows),
            "without the trie": float((known == NONE).mean()),
            "without the trie, repeated": _repeated(known.reshape(len(rows), beams)),
            "with the trie": float((bound_RK == NONE).mean()),
        }

    def simple(self) -> dict[str, Figures]:
        """What counting on tells, under the model's own numbers and under those by first appearance."""
        numberings = {"own": self._lexicon.number_V, "first seen": first_seen(self._corpus)}
        ranks = {name: counting_ranks(self.histories, number_V) for name, number_V in numberings.items()}
        return {f"counting on, numbers {name}": summary(found, self._evaluation) for name, found in ranks.items()}

    def simple_ratings(self) -> dict[str, Figures]:
        """What the mean rating of each item tells of the ratings, and the commonest rating of all."""
        known = np.flatnonzero(~np.isnan(self._subjects.rating_R))
        items_N, ratings_N = trained_ratings(self._corpus, self._split)
        if not len(known) or not len(ratings_N):
            return {}
        truth_R, items_R = self._subjects.rating_R[known], self._subjects.item_R[known]
        values, counts = np.unique(ratings_N, return_counts=True)
        told = {
            "item mean": item_means(items_N, ratings_N, self._corpus.manifest.num_items)[items_R],
            "commonest rating": np.full(len(known), values[counts.argmax()]),
        }
        return {name: self._errors(truth_R, told_R) for name, told_R in told.items()}

    def simple_texts(self, prompts: Sequence[Prompt]) -> dict[str, Figures]:
        """What one text for everybody tells: the commonest that is trained on, for each kind of text asked for."""
        found = {}
        for prompt in {one.answer: one for one in reversed(prompts) if kind_of(one) == "text"}.values():
            rows, _, answers = self._writer.written(prompt, self._subjects)
            if len(rows):
                told = commonest_text(self._trained_answers(prompt))
                found[f"commonest {prompt.answer}"] = self._overlap(answers.to_pylist(), [told] * len(rows))
        return found

    def _trained_answers(self, prompt: Prompt) -> Iterator[pa.Array]:
        for number in self._corpus.buckets():
            yield self._writer.written(prompt, learned(self._corpus, self._split, number, self._config.max_history))[2]

    def _ranking(self, rows: NDArray[np.int64], sources: pa.Array) -> Figures:
        target_R = self._subjects.item_R[rows]
        left_out = self._seen(rows) if self._evaluation.exclude_seen else None
        given = self._writer.source(sources)
        names_RK = generate_names(self._model, given, self._items, self._config.beams, left_out)
        hit_RK = names_RK == target_R[:, None]
        ranks_R = np.where(hit_RK.any(1), 1 + hit_RK.argmax(1), MISSED)
        return summary(ranks_R, self._evaluation)

    def _seen(self, rows: NDArray[np.int64]) -> list[set[int]]:
        """The items of each user's history; the target always competes."""
        offsets, items = self.histories.offsets_U1, self.histories.items_N
        seen = [set(items[offsets[row] : offsets[row + 1]].tolist()) for row in rows]
        return [one - {int(target)} for one, target in zip(seen, self.histories.targets_U[rows], strict=True)]

    def _rating(self, rows: NDArray[np.int64], sources: pa.Array) -> Figures:
        values = np.array(self._lexicon.ratings)
        named_R = self._answered(sources, rating_texts(self._lexicon.ratings))
        return self._errors(self._subjects.rating_R[rows], values[named_R])

    def _answered(self, sources: pa.Array, answers: pa.Array) -> NDArray[np.int64]:
        """Which of a few possible answers is the likeliest for each prompt, `[R]`."""
        trie = Trie(_tokens(self._lexicon.vocabulary, answers))
        given = self._writer.source(sources)
        return generate_names(self._model, given, trie, len(answers))[:, 0]

    def _verdict(self, sources: pa.Array, answers: pa.Array) -> Figures:
        named_R = self._answered(sources, pa.array(["no", "yes"]))
        is_right_R = named_R == pc.equal(answers, "yes").to_numpy(zero_copy_only=False)
        return {"accuracy": self._mean(is_right_R.astype(np.float64))}

    def _text(self, sources: pa.Array, answers: pa.Array) -> Figures:
        free = generate(self._model, self._writer.source(sources), 1, self._config.max_target)
        written = self._lexicon.vocabulary.decode([answers[0] for answers in free])
        return self._overlap(answers.to_pylist(), written)

    def _overlap(self, truth: list[str], written: list[str]) -> Figures:
        scores = {name: self._mean(score_R) for name, score_R in rouge(truth, written).items()}
        return scores | {f"bleu-{order}": {"mean": bleu(truth, written, order)} for order in _BLEU_ORDERS}

    def _errors(self, truth_R: NDArray[np.float64], told_R: NDArray[np.float64]) -> Figures:
        return {
            name: estimate(measure, truth_R, [told_R], *self._resampling())._asdict()
            for name, measure in {"rmse": rmse, "mae": mae}.items()
        }

    def _mean(self, values_R: NDArray[np.float64]) -> dict[str, float]:
        return mean_interval(values_R, *self._resampling())._asdict()

    def _resampling(self) -> tuple[int, float]:
        config: EvaluationConfig = self._evaluation
        return config.num_bootstrap, config.confidence


def measure_text(recipe: Recipe, corpus: Corpus, split: Split, model: TextModel, lexicon: Lexicon) -> dict[str, Any]:
    """Figures of every measured prompt, what needs no model beside them, and how many answers are no item."""
    measure, prompts = TextMeasure(recipe, corpus, split, model, lexicon), measured_prompts(recipe)
    found = {prompt.name: measure.prompt(prompt) for prompt in prompts}
    asked = {prompt.family: prompt for prompt in reversed(prompts) if prompt.is_seen and kind_of(prompt) == "item"}
    rates = any(kind_of(prompt) == "rating" for prompt in prompts)
    metrics = {f"{name} {metric}": value for name, one in found.items() for metric, value in one["metrics"].items()}
    counted = asked if recipe.generative.unconstrained else {}
    return {
        "prompts": found,
        "metrics": metrics,
        "invalid": {family: measure.invalid(prompt) for family, prompt in counted.items()},
        "baselines": {
            "item": measure.simple() if asked else {},
            "rating": measure.simple_ratings() if rates else {},
            "text": measure.simple_texts(prompts),
        },
        "test_users": measure.histories.num_users,
    }


def _subjects(corpus: Corpus, split: Split, histories: Histories, max_history: int) -> Subjects:
    """What is predicted of the users of histories, row by row."""
    found = joined([held_out(corpus, split, "test", number, max_history) for number in corpus.buckets()])
    found = found.take(np.flatnonzero(np.isin(found.hash_R, histories.users_U)))
    assert np.array_equal(found.hash_R, histories.users_U), "both are in the order of the corpus"
    return found


def _tokens(vocabulary: Vocabulary, names: pa.Array) -> list[list[int]]:
    encoded = vocabulary.encode(names, 512)
    return [part.tolist() for part in np.split(encoded.ids_N, encoded.offsets_R1[1:-1])]


def _repeated(names_RK: NDArray[np.int64]) -> float:
    """The share of answers that are an item which stands before them."""
    repeats = [(found := row[row != NONE]).size - np.unique(found).size for row in names_RK]
    return float(np.sum(repeats) / names_RK.size)
