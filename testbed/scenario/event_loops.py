"""What to do about an application that is on the wrong event loop, told by what it raised (pure).

Why: Python's words for it ("no running event loop") do not name the server, which is what has to be
changed.
"""

from __future__ import annotations

from typing import Final

from testbed.scenario.servers import MODELS, Loop, ServerModel

_WITHOUT_ASYNCIO: Final = (
    "no running event loop",
    "There is no current event loop",
    "AsyncLibraryNotFoundError",
    "unrecognized yield message",
)
"""What asyncio (events.py, Python 3.11) and sniffio say where asyncio does not run, and trio
(_core/_run.py, 0.35) where it is given what only asyncio understands."""
_WITHOUT_TRIO: Final = ("must be called from async context", "AsyncLibraryNotFoundError")
"""What trio (_core/_run.py, 0.35) and sniffio say where trio does not run."""


def loop_advice(text: str, model: ServerModel) -> str:
    """What to do about an exception on the wrong event loop; nothing about any other.

    Args:
        text: the exception, or a traceback that ends in it.
        model: the server that ran the application.
    """
    if model.loop == "trio" and any(words in text for words in _WITHOUT_ASYNCIO):
        return _needs("asyncio", model)
    if model.loop == "asyncio" and any(words in text for words in _WITHOUT_TRIO):
        return _needs("trio", model)
    return ""


def _needs(loop: Loop, model: ServerModel) -> str:
    # The shortest name first: uvicorn is what most applications are served by.
    able = sorted((one.name for one in MODELS.values() if one.loop == loop), key=len)
    return (
        f"This application needs {loop}, and the server {model.name} runs {model.loop}: choose "
        f'--server {" or ".join(able)} (in Python server="{able[0]}")'
    )
