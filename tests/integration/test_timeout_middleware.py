"""BentoML's TimeoutMiddleware keeps finished requests in memory, which is one reason not to use its middlewares."""

import asyncio

from bentoml._internal.server.http.traffic import TimeoutMiddleware


async def test_bentomls_timeout_middleware_keeps_the_timer_of_a_finished_request() -> None:
    """If this fails, BentoML has fixed it: update the docstring of api/bento.py."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    call_later = loop.call_later

    def recording(delay: float, callback: object, *arguments: object) -> asyncio.TimerHandle:
        timers.append(call_later(delay, callback, *arguments))  # type: ignore[arg-type]  # passed through unchanged
        return timers[-1]

    async def app(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    async def nothing(_message: object = None) -> None: ...

    loop.call_later = recording  # type: ignore[method-assign,assignment]
    await TimeoutMiddleware(app, timeout=300)({"type": "http"}, nothing, nothing)
    (timer,) = timers
    assert not timer.cancelled()
    assert timer.when() - loop.time() > 200
    timer.cancel()
