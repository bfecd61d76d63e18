"""The exceptions that came out of the application, as sentences for every report (pure).

Rules:

- An exception counts where the client was still there: one that hung up (`disconnected`) and a
  cancellation are no fault of the application's.
- At most `MOST_KINDS` sentences, the most frequent first; texts are cut at `LONGEST_TEXT`.
- What an application raises that is on the wrong event loop is followed by what to do about it.

Why: clients see only status 500, which does not tell an application that fails under load from one
that cannot run on this server at all.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from testbed.scenario.event_loops import loop_advice
from testbed.scenario.servers import ServerModel

MOST_KINDS: Final = 3
LONGEST_TEXT: Final = 200
_CANCELLED: Final = ("Cancelled", "CancelledError")


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
    advice = loop_advice(text, model)
    return f". {advice}" if advice else ""
