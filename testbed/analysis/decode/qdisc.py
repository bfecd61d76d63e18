"""RTM_GETQDISC dumps -> QdiscSample rows.

Layouts: include/uapi/linux/rtnetlink.h (struct tcmsg, TCA_*), include/uapi/linux/gen_stats.h
(gnet_stats_basic, gnet_stats_queue).
"""

from __future__ import annotations

import json
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from testbed.analysis.decode.netlink import HEADER_BYTES, Group, groups
from testbed.analysis.decode.samples import Samples
from testbed.analysis.decode.schema import empty, from_columns
from testbed.events.qdisc import QdiscSample

_RTM_NEWQDISC: Final = 36
_TCMSG_BYTES: Final = 20
_TCA_KIND, _TCA_STATS2 = 1, 7
_BASIC, _QUEUE, _PACKETS64 = (7, 1), (7, 3), (7, 8)
_TC_H_ROOT: Final = 0xFFFFFFFF
_QUEUE_FIELDS: Final = (
    "backlog_packets", "backlog_bytes", "dropped_packets", "requeues", "overlimits",
)  # fmt: skip
"""struct gnet_stats_queue: qlen, backlog, drops, requeues, overlimits"""


def decode_qdiscs(samples: Samples, names: dict[str, dict[int, str]]) -> pl.DataFrame:
    """Table of QdiscSample, by time; `names` gives each node's interfaces by index."""
    t_ns = samples.t_ns
    found = groups(samples.payload, _RTM_NEWQDISC, _TCMSG_BYTES, nested=frozenset({_TCA_STATS2}))
    parts = [_rows(group, samples.node, t_ns, names) for group in found]
    if not parts:
        return empty(QdiscSample)
    # In the kernel's order, which is that of tc: a parent stands before its children.
    return pl.concat(parts).sort("t_ns", "node", "place").drop("place")


def _rows(
    group: Group,
    nodes: list[str],
    t_ns: npt.NDArray[np.int64],
    names: dict[str, dict[int, str]],
) -> pl.DataFrame:
    count = len(group.reply)
    node = [nodes[reply] for reply in group.reply.tolist()]
    index = group.number(HEADER_BYTES + 4, 4).tolist()
    start, length = group.attributes.get((_TCA_KIND,), (0, 0))
    kinds = np.ascontiguousarray(group.messages[:, start : start + length])
    sent = group.attribute(_PACKETS64, 0, 8)
    if sent is None:
        sent = group.attribute(_BASIC, 8, 4)
    columns = {
        "t_ns": t_ns[group.reply],
        "node": node,
        "interface": [names.get(n, {}).get(i, f"#{i}") for n, i in zip(node, index, strict=True)],
        "kind": _texts(kinds),
        "handle": _handles(group.number(HEADER_BYTES + 8, 4)),
        "parent": _handles(group.number(HEADER_BYTES + 12, 4)),
        "sent_bytes": _or_zeros(group.attribute(_BASIC, 0, 8), count),
        "sent_packets": _or_zeros(sent, count),
    }
    for place, name in enumerate(_QUEUE_FIELDS):
        columns[name] = _or_zeros(group.attribute(_QUEUE, place * 4, 4), count)
    table = from_columns(QdiscSample, columns)
    table = table.with_columns(pl.Series("place", group.place))
    return table if _BASIC in group.attributes else table.clear()


def _or_zeros(values: npt.NDArray[np.int64] | None, count: int) -> npt.NDArray[np.int64]:
    # Only for a message without statistics, which is dropped as a whole.
    return np.zeros(count, np.int64) if values is None else values


def _texts(rows: npt.NDArray[np.uint8]) -> list[str]:
    """Of each row the text up to its first zero: few different ones, many times each."""
    width, whole = rows.shape[1], rows.tobytes()
    found = [whole[row * width : (row + 1) * width] for row in range(len(rows))]
    texts = {row: row.partition(b"\0")[0].decode("ascii", "replace") for row in set(found)}
    return [texts[row] for row in found]


def _handles(numbers: npt.NDArray[np.int64]) -> list[str]:
    """As tc prints them: major and minor number in hexadecimal, ``1:`` and ``1:10``."""
    texts = {
        number: f"{number >> 16:x}:{number & 0xFFFF:x}" if number & 0xFFFF else f"{number >> 16:x}:"
        for number in set(numbers.tolist())
    }
    texts[_TC_H_ROOT] = "root"
    return [texts[number] for number in numbers.tolist()]


def decode_link_names(samples: Samples) -> dict[str, dict[int, str]]:
    """Per node the names of its interfaces by index; a frame that is no JSON is left out."""
    names: dict[str, dict[int, str]] = {}
    for node, payload in zip(samples.node, samples.payload, strict=True):
        try:
            found = json.loads(payload)
            names.setdefault(node, {}).update({int(k): str(v) for k, v in found.items()})
        except (ValueError, AttributeError):
            continue
    return names
