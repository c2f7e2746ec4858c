"""Answers of one encoder to many requests at once: the numbers of `encode`, `recommend` and `predict`, in one pass.

What is wrong with one request is its answer alone.

Shapes: B histories of all requests, D width, F numbers of a user vector, S numbers stored of a user.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple, TypeVar, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic_core import to_json

from ray_userrep.encoder.histories import history_sums, ranking_vectors, user_vectors
from ray_userrep.encoder.reading import Known
from ray_userrep.encoder.top_k import refuse_beyond
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.endpoint.alike import UsersAlike
from ray_userrep.endpoint.catalogue import Catalogue
from ray_userrep.endpoint.forms import (
    About,
    AlikeForm,
    Answer,
    Ask,
    DatedForm,
    Nearest,
    NearestUsers,
    Newer,
    PredictForm,
    RecommendForm,
    VectorsForm,
)
from ray_userrep.endpoint.reader import Reader
from ray_userrep.endpoint.refusals import NotFound
from ray_userrep.endpoint.stored import StoredSums
from ray_userrep.errors import UserError
from ray_userrep.transfer.model import LabelModel

Number = TypeVar("Number", bound=np.generic)
Posted = VectorsForm | PredictForm | AlikeForm | RecommendForm | Newer
_LOG = logging.getLogger(__name__)


class Read(NamedTuple):
    """A request whose histories could be read, its place among all, and its moment (us) where one counts."""

    place: int
    ask: Posted
    known: Known
    until: int | None


class Engine:
    """An encoder, and maybe what is stored of users, a model of a label, and an index of users."""

    def __init__(
        self,
        encoder: UserEncoder,
        fingerprint: str,
        stored: StoredSums | None = None,
        model: LabelModel | None = None,
        alike: UsersAlike | None = None,
    ) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._encoder = encoder.eval()
        self._encoder.to(device)
        self._fingerprint = fingerprint
        self._stored, self._model, self._alike = stored, model, alike
        self._reader, self._catalogue = Reader(encoder), Catalogue(encoder)

    def about(self) -> About:
        """The encoder's name, sizes, and what it reads beside items."""
        return About(
            encoder=self._fingerprint,
            items=len(self._catalogue),
            width=self._encoder.vector_width,
            users=0 if self._stored is None else len(self._stored),
            ids_are_numbers=self._catalogue.ids_are_numbers,
            reads_times=self._reader.wanted.times_for is not None,
            reads_until=self._encoder.tempo is not None,
            reads_fields=self._reader.wanted.fields,
            predicts=None if self._model is None else tuple(self._model.classes),
            indexed_users=0 if self._alike is None else len(self._alike),
        )

    def answer(self, asks: Sequence[Ask]) -> list[Answer]:
        """What each request is answered, in their order; what is a bug of ours fails for the request that meets it."""
        try:
            return self._together(asks)
        except Exception as error:
            if len(asks) == 1:
                _LOG.exception("a request that is not the caller's mistake")
                return [error]
            return [self.answer([ask])[0] for ask in asks]

    def _together(self, asks: Sequence[Ask]) -> list[Answer]:
        answers: list[Answer | None] = [None] * len(asks)
        found: list[Read] = []
        for place, ask in enumerate(asks):
            try:
                if isinstance(ask, Nearest):
                    answers[place] = self._said(**self._catalogue.nearest(ask.item, ask.k))
                elif isinstance(ask, NearestUsers):
                    answers[place] = self._said(user=ask.user, **self._index().to_user(ask.user, ask.k))
                else:
                    found.append(self._read(place, ask))
            except UserError as error:
                answers[place] = error
        groups: dict[tuple[type, int | None], list[Read]] = {}
        for read in found:
            # Vectors as of one moment are made together; what is stored is scaled one by one anyway.
            moment = read.until if isinstance(read.ask, DatedForm) else None
            groups.setdefault((type(read.ask), moment), []).append(read)
        for together in groups.values():
            for read, answer in zip(together, self._answered(together), strict=True):
                answers[read.place] = answer
        return [answer for answer in answers if answer is not None]

    def _answered(self, together: list[Read]) -> list[Answer]:
        match together[0].ask:
            case VectorsForm():
                return self._vectors(together)
            case PredictForm():
                return self._predicted(together)
            case AlikeForm():
                return self._most_alike(together)
            case RecommendForm():
                return self._recommended(together)
            case Newer():
                return self._newer(together)
            case never:
                assert_never(never)

    def _vectors(self, together: list[Read]) -> list[Answer]:
        return [
            self._said(vectors=vectors_bF.tolist(), interactions=read.known.lengths_B.tolist())
            for read, vectors_bF in zip(together, self._user_vectors(together), strict=True)
        ]

    def _predicted(self, together: list[Read]) -> list[Answer]:
        assert self._model is not None, "asked for where the request was read"
        model = self._model
        answers: list[Answer] = []
        for read, vectors_bF in zip(together, self._user_vectors(together), strict=True):
            counts = read.known.lengths_B.tolist()
            found = model.column(model.scores(vectors_bF)).to_pylist()
            scores = [score if count else None for score, count in zip(found, counts, strict=True)]
            answers.append(self._said(scores=scores, classes=model.classes, interactions=counts))
        return answers

    def _most_alike(self, together: list[Read]) -> list[Answer]:
        answers: list[Answer] = []
        for read, vectors_bF in zip(together, self._user_vectors(together), strict=True):
            assert isinstance(read.ask, AlikeForm)
            found = self._index().to_vectors(vectors_bF, read.known.lengths_B, read.ask.k)
            answers.append(self._said(**found, interactions=read.known.lengths_B.tolist()))
        return answers

    def _user_vectors(self, together: list[Read]) -> list[NDArray[np.float32]]:
        """The vectors of the histories of each request, as of one moment."""
        return _parted(user_vectors(self._encoder, *self._joined(together), together[0].until), together)

    def _recommended(self, together: list[Read]) -> list[Answer]:
        known = self._joined(together)
        asked = [read.ask for read in together if isinstance(read.ask, RecommendForm)]
        hides_B = np.repeat([ask.exclude_seen for ask in asked], [len(read.known.lengths_B) for read in together])
        vectors_BD = ranking_vectors(self._encoder, *known)
        found = self._catalogue.likeliest(vectors_BD, known, max(ask.k for ask in asked), hides_B)
        parts = zip(*(_parted(one_BK, together) for one_BK in found), strict=True)
        return [
            self._said(
                **self._catalogue.lists(indices_bK[:, : ask.k], scores_bK[:, : ask.k]),
                interactions=read.known.lengths_B.tolist(),
            )
            for read, ask, (indices_bK, scores_bK) in zip(together, asked, parts, strict=True)
        ]

    def _newer(self, together: list[Read]) -> list[Answer]:
        new_BS = history_sums(self._encoder, *self._joined(together))
        return [self._with_stored(read, new_BS[row : row + 1]) for row, read in enumerate(together)]

    def _with_stored(self, read: Read, new_1S: NDArray[np.float32]) -> Answer:
        assert isinstance(read.ask, Newer) and self._stored is not None
        old, num_new = self._stored.find(read.ask.user), len(read.known.items_N)
        sums_1S = old.sums_1S
        if num_new:
            if not self._encoder.follows(old.sums_1S, new_1S)[0]:
                return UserError("timestamps: what is new reaches back behind what is stored: post all of the history")
            sums_1S = self._encoder.add_sums(old.sums_1S, new_1S)
        with torch.inference_mode():
            sums = torch.from_numpy(sums_1S).to(self._encoder.device)
            vector_F = self._encoder.scaled(sums, read.until)[0].cpu()
        return self._said(user=read.ask.user, vector=vector_F.tolist(), interactions=old.interactions + num_new)

    def _read(self, place: int, ask: Posted) -> Read:
        """The histories of a request as the encoder knows them.

        Raises:
            UserError: what it reads is missing or wrong, as in `encode`; or there is no such user, or no model.
        """
        match ask:
            case Newer():
                if self._stored is None:
                    raise NotFound("no vectors are stored here: start the endpoint with serve.vectors")
                self._stored.find(ask.user)  # told before the events are looked at
                return Read(place, ask, self._reader.newer(ask.form), self._reader.moment(ask.form.until))
            case RecommendForm():
                self._catalogue.refuse_beyond(ask.k)
                return Read(place, ask, self._reader.histories(ask), None)
            case PredictForm() if self._model is None:
                raise NotFound("no model of a label is served here: start the endpoint with serve.model")
            case AlikeForm():
                refuse_beyond(ask.k, len(self._index()))
        return Read(place, ask, self._reader.histories(ask), self._reader.moment(ask.until))

    def _index(self) -> UsersAlike:
        if self._alike is None:
            raise NotFound("no index of users is served here: start the endpoint with serve.index")
        return self._alike

    def _joined(self, together: list[Read]) -> Known:
        return self._reader.joined([read.known for read in together])

    def _said(self, **answer: object) -> bytes:
        return to_json(answer | {"encoder": self._fingerprint})


def _parted(rows_BX: NDArray[Number], together: list[Read]) -> list[NDArray[Number]]:
    """Rows of all histories by the requests that they belong to."""
    return np.split(rows_BX, np.cumsum([len(read.known.lengths_B) for read in together])[:-1])
