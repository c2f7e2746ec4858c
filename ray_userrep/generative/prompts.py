"""Prompts as data: what each family of tasks is asked in, and which wordings are never trained on.

A prompt is two templates over the fields of an interaction; which columns of a log these want is said once, here. The
last prompt for each kind of answer is kept unseen, so that a measurement tells whether more than a wording was learned.
The wordings are this project's own, and few: more of them make training more varied and measurements longer.
"""

import string
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ray_userrep.errors import UserError
from ray_userrep.recipe.generative import Family

# The column of a log that a field is told from; what is not named here every log has.
COLUMN_OF = {"rating": "rating", "review": "review", "summary": "summary", "feature": "review", "explanation": "review"}


Answer = Literal["item", "rating", "verdict", "summary", "explanation"]


class Prompt(NamedTuple):
    """What is asked and what is answered, as templates; an unseen prompt is measured and never trained on."""

    name: str
    family: Family
    source: str
    answer: Answer  # the field that is to be told
    is_seen: bool = True

    @property
    def fields(self) -> list[str]:
        """What the prompt is filled with, the answer last."""
        return [*(name for _, name, _, _ in string.Formatter().parse(self.source) if name), self.answer]


PROMPTS = (
    Prompt("rating-1", "rating", "which rating will {user} give {item} ?", "rating"),
    Prompt("rating-2", "rating", "{user} has tried {item} . stars :", "rating"),
    Prompt("rating-3", "rating", "how much does {item} please {user} ?", "rating"),
    Prompt("rating-4", "rating", "guess the stars that {item} gets from {user}", "rating", False),
    Prompt("sequential-1", "sequential", "{user} took {history} . what is next ?", "item"),
    Prompt("sequential-2", "sequential", "after {history} , {user} will choose", "item"),
    Prompt("sequential-3", "sequential", "history of {user} : {history} . continue it :", "item"),
    Prompt("sequential-4", "sequential", "these came first : {history} . name what {user} takes then", "item", False),
    Prompt("explanation-1", "explanation", "what does {user} say about the {feature} of {item} ?", "explanation"),
    Prompt("explanation-2", "explanation", "explain {item} to {user} by its {feature} :", "explanation"),
    Prompt("explanation-3", "explanation", "a sentence of {user} on {feature} , of {item} :", "explanation", False),
    Prompt("review-1", "review", "sum up what {user} wrote about {item} : {review}", "summary"),
    Prompt("review-2", "review", "a title for this review : {review}", "summary"),
    Prompt("review-3", "review", "in short , {user} means : {review}", "summary", False),
    Prompt("review-4", "review", "{user} wrote : {review} . stars for {item} ?", "rating"),
    Prompt("review-5", "review", "which rating goes with this review ? {review}", "rating", False),
    Prompt("direct-1", "direct", "recommend something to {user}", "item"),
    Prompt("direct-2", "direct", "what would suit {user} ?", "item"),
    Prompt("direct-3", "direct", "pick an item for {user} :", "item", False),
    Prompt("direct-4", "direct", "would {user} take {candidate} ?", "verdict"),
    Prompt("direct-5", "direct", "is {candidate} right for {user} ?", "verdict"),
    Prompt("direct-6", "direct", "does {candidate} go with {user} ?", "verdict", False),
)


def of_families(families: Sequence[Family]) -> list[Prompt]:
    """The prompts of these families."""
    return [prompt for prompt in PROMPTS if prompt.family in families]


def refuse_unfillable(prompts: Sequence[Prompt], columns: Sequence[str], log: str) -> None:
    """Refuse prompts that a log has not the fields of.

    Raises:
        UserError: one asks for what is told from no column; the message names prompt, field and column.
    """
    for prompt in prompts:
        for field in prompt.fields:
            column = COLUMN_OF.get(field)
            if column is not None and column not in columns:
                raise UserError(
                    f"generative.families {prompt.family}: its prompt {prompt.name} has a field {field!r}, told from "
                    f"the column {column!r}, which {log} has not: name it in logs.columns, or leave the family out"
                )
