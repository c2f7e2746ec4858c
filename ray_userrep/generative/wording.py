"""How near texts come to those that were to be written: BLEU by sacreBLEU, ROUGE by Google's rouge-score.

Both are extras (`generative`); their tokenisation is their own, so that figures compare with others' by the same tools.

Shapes: R texts.
"""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from ray_userrep.errors import UserError

ROUGE = ("rouge1", "rougeL")


def bleu(truth: Sequence[str], written: Sequence[str], max_order: int) -> float:
    """Corpus BLEU with n-grams up to an order, in percent (Papineni et al., ACL 2002; Post, WMT 2018)."""
    from sacrebleu.metrics.bleu import BLEU

    score = BLEU(max_ngram_order=max_order, effective_order=False).corpus_score(list(written), [list(truth)]).score
    return float(score)


def rouge(truth: Sequence[str], written: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """The F measure of each text in percent, of words in common and of the longest common subsequence, `[R]` each.

    Source: Lin, "ROUGE: A package for automatic evaluation of summaries", 2004, sections 2 and 3.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(ROUGE)
    scores = [scorer.score(one, other) for one, other in zip(truth, written, strict=True)]
    return {name: np.array([100 * score[name].fmeasure for score in scores]) for name in ROUGE}


def refuse_unmeasurable() -> None:
    """Check that both are there, before any training.

    Raises:
        UserError: one is not.
    """
    for module, package in (("sacrebleu", "sacrebleu"), ("rouge_score", "rouge-score")):
        if find_spec(module) is None:
            raise UserError(
                f"generative.families review and explanation are measured by {package}, which is not installed: "
                "pip install 'ray_userrep[generative]'"
            )
