"""What a model of text is made with and needs to be used: its vocabulary, what items are called, which features exist.

It is learned once, before training, from what is trained on, and stored with the run: all workers read the same one,
and a run that goes on reads the one it began with.

Shapes: V items.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ray_userrep import storage
from ray_userrep.corpus import draws
from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError
from ray_userrep.generative.explanations import learn_features
from ray_userrep.generative.prompts import of_families, refuse_unfillable
from ray_userrep.generative.subjects import TEXTS, Subjects, learned
from ray_userrep.generative.tokens import Vocabulary, learn_vocabulary, refuse_ambiguous, with_whole
from ray_userrep.generative.wording import refuse_unmeasurable
from ray_userrep.recipe.generative import GenerativeConfig
from ray_userrep.recipe.recipe import Recipe

LEXICON = "text"  # the folder in a run
_TOKENIZER, _NUMBERS, _FACTS = "tokenizer.json", "numbers.parquet", "facts.json"
_SHUFFLED = 61  # what a draw is for
_LEARNED_TEXTS = 200_000  # of which a vocabulary is learned; more of them change it little


class Lexicon(NamedTuple):
    """The vocabulary, each item's number, features of explanations by frequency, and the ratings that occur, rising."""

    vocabulary: Vocabulary
    number_V: NDArray[np.int64]
    features: list[str]
    ratings: list[float]

    def names(self) -> pa.Array:
        """What each item is called, `[V]`."""
        return item_names(self.number_V)

    def save(self, uri: str) -> None:
        """Write it into a folder."""
        storage.write_text(storage.join(uri, _TOKENIZER), self.vocabulary.tokenizer.to_str())
        storage.write_parquet(storage.join(uri, _NUMBERS), pa.table({"number": self.number_V}))
        storage.write_json(storage.join(uri, _FACTS), {"features": self.features, "ratings": self.ratings})

    @staticmethod
    def load(uri: str) -> "Lexicon":
        """What was written into a folder."""
        facts = storage.read_object(storage.join(uri, _FACTS))
        tokenizer = Tokenizer.from_str(storage.read_text(storage.join(uri, _TOKENIZER)))
        number_V = storage.read_parquet(storage.join(uri, _NUMBERS))["number"].to_numpy()
        return Lexicon(Vocabulary(tokenizer), number_V, facts["features"], facts["ratings"])


def refuse_unanswerable(recipe: Recipe, corpus: Corpus) -> None:
    """Check that a log has what the recipe's families ask for, before any work.

    Raises:
        UserError: a prompt has a field that the log has not, fewer items are there than are to be generated, or what
            texts are measured by is not installed.
    """
    config, manifest = recipe.generative, corpus.manifest
    refuse_unfillable(of_families(config.families), manifest.side_columns, manifest.source_uri)
    if {"review", "explanation"} & {*config.families}:
        refuse_unmeasurable()
    if config.beams > manifest.num_items:
        raise UserError(
            f"generative.beams {config.beams} is more than the {manifest.num_items} items of {corpus.uri}: lower it"
        )


def learn_lexicon(recipe: Recipe, corpus: Corpus, split: Split, uri: str) -> Lexicon:
    """The lexicon of a recipe's families on what is trained on, written into a folder; one that is there is read.

    Raises:
        UserError: the tokenizer that is named cannot be read, or does not tell items apart.
    """
    if storage.exists(storage.join(uri, _FACTS)):
        return Lexicon.load(uri)
    config, seed = recipe.generative, recipe.seed
    number_V = first_seen(corpus) if config.ids == "sequence" else shuffled(corpus.manifest.num_items, seed)
    names = item_names(number_V)
    told = any(column in corpus.manifest.side_columns for column in TEXTS) and bool(
        {"review", "explanation"} & {*config.families}
    )
    vocabulary = _vocabulary(config, corpus, split, names, told)
    refuse_ambiguous(vocabulary, names)
    reviews = (one.texts["review"] for one in _learned(corpus, split) if "review" in one.texts)
    features = learn_features(reviews) if "explanation" in config.families else []
    lexicon = Lexicon(vocabulary, number_V, features, _ratings(corpus, split))
    lexicon.save(uri)
    return lexicon


def item_names(numbers: NDArray[np.int64]) -> pa.Array:
    """What items of these numbers are called."""
    return pc.binary_join_element_wise("item_", pa.array(numbers).cast(pa.string()), "")


def user_names(numbers: NDArray[np.int64]) -> pa.Array:
    """What users of these numbers are called."""
    return pc.binary_join_element_wise("user_", pa.array(numbers).cast(pa.string()), "")


def rating_texts(ratings: NDArray[np.float64] | list[float]) -> pa.Array:
    """Ratings as they are written: `5`, `4.5`."""
    return pa.array([f"{rating:g}" for rating in ratings], pa.string())


def first_seen(corpus: Corpus) -> NDArray[np.int64]:
    """Items numbered from 1 in the order in which users have them, user after user, held-out ones as well (P5's code).

    Items of one user then mostly have numbers in a row, so that counting on tells the next one: it is here to be
    measured beside others.
    """
    number_V, known = np.zeros(corpus.manifest.num_items, np.int64), 0
    for number in corpus.buckets():
        items, first = np.unique(corpus.bucket(number).items_N, return_index=True)
        new = items[np.argsort(first)]
        new = new[number_V[new] == 0]
        number_V[new] = known + 1 + np.arange(len(new))
        known += len(new)
    unseen = np.flatnonzero(number_V == 0)
    number_V[unseen] = known + 1 + np.arange(len(unseen))
    return number_V


def shuffled(num_items: int, seed: int) -> NDArray[np.int64]:
    """Items numbered from 1 at random, `[V]`."""
    number_V = np.empty(num_items, np.int64)
    number_V[np.argsort(draws.bits(_SHUFFLED, seed, np.arange(num_items)))] = 1 + np.arange(num_items)
    return number_V


def _vocabulary(config: GenerativeConfig, corpus: Corpus, split: Split, names: pa.Array, told: bool) -> Vocabulary:
    if config.tokenizer is None:
        vocabulary = learn_vocabulary(_texts(config, corpus, split, told), config.vocabulary)
    else:
        vocabulary = _read_tokenizer(config.tokenizer)
    return with_whole(vocabulary, names) if config.ids == "whole" else vocabulary


def _read_tokenizer(uri: str) -> Vocabulary:
    try:
        return Vocabulary(Tokenizer.from_str(storage.read_text(storage.absolute(uri))))
    except UserError:
        raise
    except Exception as error:  # what the library raises is of no class of its own
        raise UserError(f"generative.tokenizer: {uri} is no tokenizer.json ({error})") from error


def _texts(config: GenerativeConfig, corpus: Corpus, split: Split, told: bool) -> Iterator[str]:
    """The wordings of prompts, what ids and answers look like, and, where they are read, texts of the log."""
    for prompt in of_families(config.families):
        yield prompt.source
    yield from ("item_0 user_0 yes no",) * 100
    left = _LEARNED_TEXTS
    for one in _learned(corpus, split) if told else ():
        for column in one.texts.values():
            some = column.drop_null().slice(0, max(0, left)).to_pylist()
            left -= len(some)
            yield from some


def _learned(corpus: Corpus, split: Split) -> Iterator[Subjects]:
    return (learned(corpus, split, number, 1) for number in corpus.buckets())


def _ratings(corpus: Corpus, split: Split) -> list[float]:
    """The values that are rated with."""
    if "rating" not in corpus.manifest.side_columns:
        return []
    found = [np.unique(one.rating_R[~np.isnan(one.rating_R)]) for one in _learned(corpus, split)]
    values: list[float] = np.unique(np.concatenate(found)).tolist()
    return values
