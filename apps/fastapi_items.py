"""FastAPI: a small service with routing, a middleware and validation, as people write them.

Paths: ``GET /items`` lists, with ``limit`` (10 when left out, 1 to 100); ``GET /items/7`` is one of
the items 1 to 100, or 404; ``POST /items`` takes ``{"name": "...", "price": 1.5}`` and answers 201,
or 422 with what is wrong with it. Every answer has the time that the service took in
``x-process-time``. Example: ``--app fastapi_items --path '/items?limit=3'``.

It needs FastAPI: ``pip install 'asgi-testbed[apps]'``.
"""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field

LAST = 100


class NewItem(BaseModel):
    """What is posted."""

    name: str = Field(min_length=1, max_length=50)
    price: float = Field(gt=0)


class Item(NewItem):
    """What is answered."""

    id: int


app = FastAPI(title="items")


@app.middleware("http")
async def process_time(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Says in a header how long the service took."""
    started = perf_counter()
    response = await call_next(request)
    response.headers["x-process-time"] = f"{perf_counter() - started:.6f}"
    return response


@app.get("/items")
async def list_items(limit: Annotated[int, Query(ge=1, le=LAST)] = 10) -> list[Item]:
    """The first items."""
    return [_item(number) for number in range(1, limit + 1)]


@app.get("/items/{number}")
async def read_item(number: int) -> Item:
    """One item."""
    if not 1 <= number <= LAST:
        raise HTTPException(404, f"there are the items 1 to {LAST}")
    return _item(number)


@app.post("/items", status_code=201)
async def create_item(item: NewItem) -> Item:
    """Answers with the item as it would be stored; nothing is."""
    return Item(id=LAST + 1, **item.model_dump())


def _item(number: int) -> Item:
    return Item(id=number, name=f"item {number}", price=number / 4)
