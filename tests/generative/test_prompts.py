"""Prompts: every family has wordings that are trained on and one that is not; what a log lacks is refused by name."""

from typing import get_args

import pytest

from ray_userrep.errors import UserError
from ray_userrep.generative.prompts import PROMPTS, of_families, refuse_unfillable
from ray_userrep.recipe.generative import Family

COLUMNS = ["rating", "review", "summary"]


def test_each_kind_of_answer_is_asked_for_in_wordings_seen_and_unseen():
    assert len({prompt.name for prompt in PROMPTS}) == len({prompt.source for prompt in PROMPTS}) == len(PROMPTS)
    for family in get_args(Family):
        own = of_families([family])
        for answer in {prompt.answer for prompt in own}:
            assert {prompt.is_seen for prompt in own if prompt.answer == answer} == {True, False}


@pytest.mark.parametrize(
    ("family", "lost", "told"),
    [
        ("rating", "rating", "rating-1 has a field 'rating', told from the column 'rating', which log has not"),
        ("review", "summary", "review-1 has a field 'summary', told from the column 'summary'"),
        ("explanation", "review", "explanation-1 has a field 'feature', told from the column 'review'"),
    ],
)
def test_a_prompt_whose_field_the_log_has_not_is_refused_by_name(family, lost, told):
    refuse_unfillable(of_families([family]), COLUMNS, "log")
    with pytest.raises(UserError, match=told):
        refuse_unfillable(of_families([family]), [one for one in COLUMNS if one != lost], "log")
    refuse_unfillable(of_families(["sequential", "direct"]), [], "log")
