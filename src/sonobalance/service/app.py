"""The routes; each is a line or two, the work is in `service.service`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from sonobalance.notice import NOTICE
from sonobalance.service.gate import Gate, Turned
from sonobalance.service.replies import (
    Explanation,
    GeneratorInfo,
    ModelInfo,
    Prediction,
    Problem,
    Samples,
    State,
)
from sonobalance.service.service import Service
from sonobalance.service.synthesise import generator_info, make_samples
from sonobalance.service.uploads import BODY, read_image
from sonobalance.version import __version__

STATIC = files("sonobalance.service") / "static"
REFUSALS = {
    400: "The form is broken or has no file.",
    401: "The token is missing or wrong.",
    408: "The upload took too long.",
    413: "The upload is too large.",
    421: "The request names another host than this machine.",
    422: "It is no image that can be read, or a parameter is wrong.",
    429: "Too many requests of this client; Retry-After says when to go on.",
    503: "The service is busy; Retry-After says when to try again.",
}
UPLOAD = (400, 401, 408, 413, 421, 422, 429, 503)
PLAIN = (401, 421, 429, 503)


def make_app(service: Service) -> Gate:
    """The whole service as one ASGI application."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="sonobalance", version=__version__, description=f"{service.name}. {NOTICE}",
        lifespan=lifespan, docs_url=None, redoc_url=None,
    )  # fmt: skip
    _add_images(app, service)
    _add_about(app, service)
    _add_pages(app)
    _add_errors(app)
    _name_security(app, service)
    return Gate(app, service.settings, service.access, service.metrics)


def _refusals(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Problem, "description": REFUSALS[code]} for code in codes}


def _add_images(app: FastAPI, service: Service) -> None:
    @app.post("/predict", openapi_extra=BODY, responses=_refusals(*UPLOAD))
    async def predict(
        request: Request,
        preview: Annotated[bool, Query(description="send the image back as a PNG")] = False,
        neighbours: Annotated[
            int, Query(ge=0, le=8, description="nearest training images, where allowed")
        ] = 0,
    ) -> Prediction:
        """Class probabilities, conformal set and refusal for one image."""
        content = await read_image(request, service.settings)
        return await service.predict(content, preview=preview, neighbours=neighbours)

    @app.post("/explain", openapi_extra=BODY, responses=_refusals(*UPLOAD))
    async def explain(
        request: Request,
        method: Annotated[str, Query(max_length=50, description="see /model")] = "grad-cam",
        target: Annotated[
            str | None, Query(max_length=100, description="class; default: the most probable")
        ] = None,
    ) -> Explanation:
        """Where the evidence for a class lies."""
        content = await read_image(request, service.settings)
        return await service.explain(content, method=method, target=target)


def _add_about(app: FastAPI, service: Service) -> None:
    @app.get("/model", responses=_refusals(*PLAIN))
    async def model() -> ModelInfo:
        """What the model is, how well it did, and what it is not for."""
        predictor = service.predictor
        return ModelInfo(
            description=predictor.description.model_dump(mode="json"),
            bundle_sha256=predictor.digest, methods=service.methods,
            examples=predictor.examples is not None, generator=service.generator is not None,
        )  # fmt: skip

    @app.get("/metrics", response_class=Response, responses=_refusals(*PLAIN))
    async def metrics() -> Response:
        """Counters in the text format of Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/health")
    async def health() -> State:
        """Whether the process answers."""
        return State(status="alive")

    @app.get("/ready", responses={503: {"model": State, "description": "Not ready."}})
    async def ready(response: Response) -> State:
        """Whether predictions are answered."""
        if not service.ready:
            response.status_code = 503
            response.headers["Retry-After"] = "5"
        return State(status="ready" if service.ready else "not ready")

    if service.generator is None:
        return
    generator = service.generator

    @app.get("/generator", responses=_refusals(*PLAIN))
    async def about_generator() -> GeneratorInfo:
        """What synthetic images can be made."""
        return generator_info(generator, service.settings)

    @app.post("/sample", responses=_refusals(401, 421, 422, 429, 503))
    async def sample(
        label: Annotated[str, Query(max_length=100, description="class")],
        count: Annotated[int, Query(ge=1, description="see /generator for the most")] = 4,
        seed: Annotated[int, Query(ge=0, le=2**53 - 1)] = 0,
        truncation: Annotated[float, Query(ge=0, le=2)] = 1.0,
    ) -> Samples:
        """Synthetic images with their provenance; no gate has judged them."""
        most = service.settings.max_samples
        if count > most:
            raise Turned(422, f"Expected a count of at most {most}.")
        return await service.batcher.alone(
            lambda: make_samples(generator, label, count, seed=seed, truncation=truncation)
        )


def _add_pages(app: FastAPI) -> None:
    def page(name: str) -> Response:
        return Response((STATIC / name).read_bytes(), media_type="text/html; charset=utf-8")

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index() -> Response:
        return page("index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return page("docs.html")

    app.mount("/static", StaticFiles(packages=[("sonobalance.service", "static")]))


def _add_errors(app: FastAPI) -> None:
    """Every refusal is one JSON object with one sentence."""

    def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"detail": detail}, status, headers)

    @app.exception_handler(Turned)
    async def turned(_request: Request, error: Turned) -> JSONResponse:
        return problem(error.status, error.detail, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return problem(422, f"Expected a valid {first['loc'][-1]}: {first['msg']}.")

    @app.exception_handler(HTTPException)
    async def http(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, _error: Exception) -> JSONResponse:
        return problem(500, "Something failed that should not; nothing about the image was kept.")


def _name_security(app: FastAPI, service: Service) -> None:
    if service.access.digest is None:
        return
    plain = app.openapi

    def with_token() -> dict[str, Any]:
        document = plain()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["token"] = {"type": "http", "scheme": "bearer"}
        for path, item in document["paths"].items():
            if path not in {"/health", "/ready"}:
                for operation in item.values():
                    operation["security"] = [{"token": []}]
        return document

    app.openapi = with_token  # type: ignore[method-assign]
