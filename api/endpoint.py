"""An entry of the table in api/routes.py: one method of one path, from which routing and documentation are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from starlette.types import ASGIApp

from api.context import Context
from api.field_types import RequestBody
from api.json_body import LARGE_BODY, read_json, run
from api.responses import Answer
from api.routing import Request, Route
from settings import Settings, Task

B = TypeVar("B", bound=RequestBody)
Headers = Mapping[str, str]
Setting = Literal["admin", "playground", "batch_dir"]

_FORM_ERRORS = (400, 401, 404, 408, 413, 429, 500, 502, 503, 504)


def _always(_: dict[str, Any]) -> bool:
    return True


@dataclass(frozen=True)
class Form(Generic[B]):
    """A request body that a route accepts, the handler that answers it, and an example."""

    body: type[B]
    handle: Callable[[Any, B, Headers], Awaitable[Answer[Any]]]
    """Its first argument is the Work, or the whole Context if `post` was given `whole_context`."""
    example: dict[str, Any]
    fits: Callable[[dict[str, Any]], bool] = _always
    """Whether a JSON object has this form."""


@dataclass(frozen=True)
class Endpoint:
    """One method of one path, with its handler and documentation."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    """May have one placeholder, as in /v1/models/{name}. It is also the label in metrics and logs."""
    summary: str
    """For the OpenAPI document and docs/api.md."""
    handle: Callable[[Context, Request], Awaitable[ASGIApp]]
    """If it is annotated to return Answer[T], the OpenAPI document describes T."""
    _: KW_ONLY
    forms: Sequence[Form[Any]] = ()
    errors: Sequence[int] = (401, 500)
    """The statuses that the OpenAPI document lists beside 200."""
    task: Task | None = None
    """It is documented only if SERVE_TASKS has this task; None: always."""
    setting: Setting | None = None
    """The setting that enables it."""
    open: bool | Callable[[Settings], bool] = False
    """Whether it needs no API key; may depend on the settings."""
    quiet: bool = False
    """Whether only failures are logged, because machines or the playground send it every few seconds."""
    upload: Mapping[str, Any] | None = None
    """The schema of a multipart/form-data body, which the handler reads from `Request.parts`."""
    in_openapi: bool = True

    def is_documented(self, settings: Settings) -> bool:
        """Whether the OpenAPI document of a service with these settings includes it."""
        enabled = self.setting is None or bool(getattr(settings, self.setting))
        return self.in_openapi and enabled and (self.task is None or self.task in settings.serve_tasks)

    def bind(self, context: Context) -> Route:
        """The route, with its handler bound to `context`."""
        is_open = self.open(context.settings) if callable(self.open) else self.open
        return Route(
            self.method,
            self.path,
            partial(self.handle, context),
            open=is_open,
            quiet=self.quiet,
            streamed=self.upload is not None,
        )


def post(
    path: str,
    summary: str,
    *forms: Form[Any],
    task: Task | None = None,
    setting: Setting | None = None,
    whole_context: bool = False,
) -> Endpoint:
    """An endpoint that accepts JSON bodies; the first form that fits is used.

    A placeholder in the path replaces the field of that name.
    """

    def read(request: Request, settings: Settings) -> tuple[Form[Any], RequestBody]:
        content = {**read_json(request.body, settings), **request.params}
        form = next(form for form in forms if form.fits(content))
        return form, form.body.model_validate(content, context=settings)

    async def handle(context: Context, request: Request) -> ASGIApp:
        """ValidationError or InvalidRequestError if the body is invalid."""
        large = len(request.body) >= LARGE_BODY
        form, body = await run(read, request, context.settings, in_thread=large)
        return await form.handle(context if whole_context else context.work, body, request.headers)

    return Endpoint("POST", path, summary, handle, forms=forms, errors=_FORM_ERRORS, task=task, setting=setting)
