"""What an application says of its lifespan, kept for the message when it fails."""

from __future__ import annotations

from testbed.errors import ProcessError
from testbed.probes.asgi import Application, Message, Receive, Scope, Send
from testbed.scenario.event_loops import loop_advice
from testbed.scenario.servers import MODELS
from testbed.server.config import ServerConfig


class LifespanWatch:
    """The application; transparent.

    Attributes:
        reason: what the application said when its startup failed.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self.reason = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the application."""
        if scope["type"] != "lifespan":
            await self._application(scope, receive, send)
            return

        async def watched_send(message: Message) -> None:
            if message["type"].endswith(".failed"):
                self.reason = message.get("message", "")
            await send(message)

        await self._application(scope, receive, watched_send)


def lifespan_error(config: ServerConfig, what: str) -> ProcessError:
    """The error of an application that failed its startup or shutdown."""
    advice = loop_advice(what, MODELS[config.server])
    more = f". {advice}" if advice else ""
    return ProcessError(
        f'the application "{config.app}" {what} (ASGI lifespan){more}', where="server"
    )
