"""The routes of an endpoint: what is posted is checked here, and answered by whoever holds the encoder.

Nothing here knows of Ray, so that the routes are tested without it. Every wrong request is one line and a status of
4xx; a request changes nothing, so that it may be sent again whenever nobody could answer.
"""

from importlib.resources import files
from typing import Any, Protocol

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from ray_userrep import __version__
from ray_userrep.endpoint.forms import (
    About,
    AlikeForm,
    Answer,
    Ask,
    Form,
    Kind,
    Nearest,
    NearestUsers,
    Newer,
    NewerForm,
    PredictForm,
    RecommendForm,
    VectorsForm,
    read_form,
)
from ray_userrep.endpoint.gate import Gate
from ray_userrep.endpoint.refusals import TooLarge, Unavailable, refused, said
from ray_userrep.endpoint.traffic import Counted, Traffic
from ray_userrep.errors import UserError
from ray_userrep.recipe.serve import ServeConfig

_PAGE = files("ray_userrep.endpoint").joinpath("page.html").read_text(encoding="utf-8")
_PAGE_MAY = {"Content-Security-Policy": "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; "
             "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}  # fmt: skip


class Answers(Protocol):
    """Who holds the encoder.

    Raises:
        Unavailable: it cannot be reached.
    """

    async def answer(self, ask: Ask) -> Answer: ...

    async def about(self) -> About: ...


class Refusal(BaseModel):
    """What a request that cannot be served is answered."""

    error: str = Field(description="one line that says what is wrong and what to do")


_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": told}
    for status, told in {
        401: "the token is missing or wrong",
        404: "no such item or user, or nothing is served that knows of it",
        413: "larger than the endpoint takes",
        422: "wrong in itself",
        429: "too many requests",
        503: "nobody can answer just now: send it again",
    }.items()
}


def make_app(answers: Answers, config: ServeConfig, token_digest: str | None) -> FastAPI:
    """The endpoint as an ASGI app."""
    traffic = Traffic()
    app = FastAPI(title="ray_userrep", version=__version__, docs_url=None, redoc_url=None)
    for kind in (UserError, Unavailable, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _refused)
    _add_health(app, answers, traffic)
    _add_questions(app, answers, config, traffic)
    app.add_middleware(Gate, config=config, token_digest=token_digest)
    app.add_middleware(Counted, traffic=traffic)
    return app


def _add_health(app: FastAPI, answers: Answers, traffic: Traffic) -> None:
    @app.get("/healthz", summary="Whether this process lives")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", summary="Whether an encoder answers, and what it reads", responses={503: _REFUSALS[503]})
    async def readyz() -> dict[str, Any]:
        return {"status": "ready"} | (await answers.about())._asdict()

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(traffic.exposed(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", summary="A page to try it", response_class=HTMLResponse)
    async def page() -> HTMLResponse:
        return HTMLResponse(_PAGE, headers=_PAGE_MAY)


def _add_questions(app: FastAPI, answers: Answers, config: ServeConfig, traffic: Traffic) -> None:
    async def answered(ask: Ask) -> Response:
        answer = await answers.answer(ask)
        if isinstance(answer, Exception):
            raise answer
        return Response(answer, media_type="application/json")

    async def posted(request: Request, kind: type[Kind]) -> Kind:
        form = read_form(kind, await request.body())
        lengths = form.lengths()
        _refuse_large(lengths, config)
        traffic.read(len(lengths), sum(lengths))
        return form

    @app.post("/v1/vectors", summary="Vectors of histories", openapi_extra=_body(VectorsForm), responses=_REFUSALS)
    async def vectors(request: Request) -> Response:
        return await answered(await posted(request, VectorsForm))

    @app.post("/v1/recommend", summary="Likeliest next items", openapi_extra=_body(RecommendForm), responses=_REFUSALS)
    async def recommend(request: Request) -> Response:
        form = await posted(request, RecommendForm)
        _refuse_many(form.k, config)
        return await answered(form)

    @app.post("/v1/predict", summary="Scores of a label", openapi_extra=_body(PredictForm), responses=_REFUSALS)
    async def predict(request: Request) -> Response:
        return await answered(await posted(request, PredictForm))

    @app.get("/v1/items/{item:path}/nearest", summary="Items most alike", responses=_REFUSALS)
    async def nearest(item: str, k: int = Query(10, ge=1, description="how many")) -> Response:
        _refuse_many(k, config)
        return await answered(Nearest(item, k))

    @app.post("/v1/users/nearest", summary="Users most alike", openapi_extra=_body(AlikeForm), responses=_REFUSALS)
    async def users_nearest(request: Request) -> Response:
        form = await posted(request, AlikeForm)
        _refuse_many(form.k, config)
        return await answered(form)

    @app.get("/v1/users/{user:path}/nearest", summary="Users most alike to one of them", responses=_REFUSALS)
    async def user_nearest(user: str, k: int = Query(10, ge=1, description="how many")) -> Response:
        _refuse_many(k, config)
        return await answered(NearestUsers(user, k))

    @app.post(
        "/v1/users/{user:path}/vector",
        summary="The vector of a stored user, with newer events",
        openapi_extra=_body(NewerForm),
        responses=_REFUSALS,
    )
    async def user_vector(user: str, request: Request) -> Response:
        return await answered(Newer(user, await posted(request, NewerForm)))


def _refuse_large(lengths: list[int], config: ServeConfig) -> None:
    if len(lengths) > config.max_histories:
        raise TooLarge(f"histories: {len(lengths):,}, more than {config.max_histories:,} (serve.max_histories)")
    if sum(lengths) > config.max_items:
        raise TooLarge(f"histories: {sum(lengths):,} items, more than {config.max_items:,} (serve.max_items)")


def _refuse_many(k: int, config: ServeConfig) -> None:
    if k > config.max_k:
        raise UserError(f"k: takes 1 to {config.max_k:,} (serve.max_k; given {k})")


def _body(kind: type[Form]) -> dict[str, Any]:
    """How a form is described; the framework does not read it: that would take longer and say more than a line."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": kind.model_json_schema()}}}}


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return said(422, f"{first['loc'][-1]}: {first['msg']}")
    if isinstance(error, HTTPException):
        return said(error.status_code, str(error.detail), dict(error.headers or {}))
    return refused(error)
