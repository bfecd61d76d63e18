"""The exceptions that came out of the application, as sentences for every report (pure).

Rules:

- An exception counts where the client was still there: one that hung up (`disconnected`) and a
  cancellation are no fault of the application's.
- At most `MOST_KINDS` sentences, the most frequent first; texts are cut at `LONGEST_TEXT`.
- What an application raises that is on the wrong event loop is followed by what to do about it.

Why: clients see only status 500, which does not tell an application that fails under load from one
that cannot run on this server at all. Python's own words for the second ("no running event loop")
do not name the server, which is what has to be changed.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from testbed.scenario.servers import MODELS, ServerModel

MOST_KINDS: Final = 3
LONGEST_TEXT: Final = 200
_CANCELLED: Final = ("Cancelled", "CancelledError")
_WITHOUT_ASYNCIO: Final = (
    "no running event loop",
    "There is no current event loop",
    "AsyncLibraryNotFoundError",
)
"""What asyncio (events.py, Python 3.11) and sniffio say where asyncio does not run."""
_WITHOUT_TRIO: Final = ("must be called from async context", "AsyncLibraryNotFoundError")
"""What trio (_core/_run.py, 0.35) and sniffio say where trio does not run."""


def application_errors(requests: pl.DataFrame | None, model: ServerModel) -> list[str]:
    """Sentences about the exceptions of the application.

    Args:
        requests: the table `asgi`; None: it was not recorded.
        model: the server that ran the application.
    """
    if requests is None:
        return []
    raised = requests.filter(
        pl.col("exception").is_not_null()
        & ~pl.col("exception").is_in(_CANCELLED)
        & ~pl.col("disconnected")
    )
    kinds = raised.group_by("exception").len("times")
    kinds = kinds.sort(["times", "exception"], descending=[True, False])
    found = [
        f"the application raised {_shown(text)} in {times} of {_requests(requests.height)}"
        f"{_advice(text, model)}"
        for text, times in kinds.head(MOST_KINDS).iter_rows()
    ]
    rest = kinds.slice(MOST_KINDS)
    if rest.height:
        others = "one other exception" if rest.height == 1 else f"{rest.height} other exceptions"
        found.append(
            f"the application raised {others} in {_requests(int(rest['times'].sum()))}: "
            "events/asgi.parquet has them"
        )
    return found


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return f'"{line if len(line) <= LONGEST_TEXT else line[: LONGEST_TEXT - 1] + "…"}"'


def _requests(count: int) -> str:
    return f"{count} request" if count == 1 else f"{count} requests"


def _advice(text: str, model: ServerModel) -> str:
    """What to do about an exception that says that the application is on the wrong event loop."""
    if model.loop == "trio" and _says(text, _WITHOUT_ASYNCIO):
        able = [one.name for one in MODELS.values() if one.loop == "asyncio"]
        needed = "asyncio"
    elif model.loop == "asyncio" and _says(text, _WITHOUT_TRIO):
        able = [one.name for one in MODELS.values() if one.loop == "trio"]
        needed = "trio"
    else:
        return ""
    # The shortest name first: uvicorn is what most applications are served by.
    able.sort(key=len)
    return (
        f". This application needs {needed}, and the server {model.name} runs {model.loop}: choose "
        f'--server {" or ".join(able)} (in Python server="{able[0]}")'
    )


def _says(text: str, words: tuple[str, ...]) -> bool:
    return any(one in text for one in words)
