"""Flower's SuperLink, with a guard: ``python -m medtk.federated.flower.superlink`` and Flower's own options.

One port serves hospitals (``/v1/fleet``, where each request is signed by a hospital's key) and the machine's own
programs (everything else: start a run, register keys), and the latter ask for no password. From other machines, only
the former is let through.
"""

from flwr.superlink import extensions
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse


class Guard:
    """Refuses everything but hospitals' requests, unless it comes from the machine itself."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        """Pass a request on, or answer it with 403."""
        if scope["type"] == "lifespan" or allowed(scope):
            return await self.app(scope, receive, send)
        answer = PlainTextResponse("Only the server's own machine may ask for this.", status_code=403)
        return await answer(scope, receive, send)


def allowed(scope) -> bool:
    """Whether a request may pass: a hospital's, or one whose both ends have the same address."""
    if scope["path"].startswith("/v1/fleet/"):
        return True
    ends = scope.get("client"), scope.get("server")
    return None not in ends and ends[0][0] == ends[1][0]


if __name__ == "__main__":
    from flwr.superlink.cli import flower_superlink

    extensions.get_middleware = lambda: (Middleware(Guard),)
    flower_superlink()
