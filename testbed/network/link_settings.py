"""What a `Topo` says of the links: the parameters of ``addLink`` as settings. Pure.

Rule: nothing is ignored. Whatever is no setting, no parameter of Mininet's own and no parameter of
`TCLink` is a problem.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from testbed.errors import QuantityError, shown
from testbed.network import tclink
from testbed.scenario.model import WAY_SETTINGS, DirectionName, Way
from testbed.scenario.names import did_you_mean
from testbed.scenario.reading import read

_MININET_KEYS: Final = (
    "port1", "port2", "intfName1", "intfName2", "addr1", "addr2", "params1", "params2",
    "node1", "node2", "intf", "cls", "cls1", "cls2", "fast", "key",
)  # fmt: skip
_END_KEYS: Final = ("ip", "mac", "up", "ifconfig", "port", "moveIntfFn")
"""What `params1` and `params2` may hold beyond settings (mininet.link.Intf)."""
_SETTINGS: Final = (*WAY_SETTINGS, *tclink.KEYS)

OnProblem = Callable[[str, str], None]
"""Is told a place and what is wrong there."""


def check_keys(name: str, info: Mapping[str, Any], problem: OnProblem) -> None:
    """Tells of every parameter of the link `name` that is none."""
    known = (*_SETTINGS, *_MININET_KEYS, "bottleneck", "forward", "reverse")
    for key in info:
        if key not in known:
            problem(f"link {name}: {key}", f"unknown setting{did_you_mean(key, known)}")
    for params in ("params1", "params2"):
        end = info.get(params)
        if end is not None and not isinstance(end, Mapping):
            problem(f"link {name}: {params}", f"expected a table (got {shown(end)})")
        for key in table(end):
            if key not in (*_SETTINGS, *_END_KEYS):
                hint = did_you_mean(str(key), _SETTINGS)
                problem(f"link {name}: {params}.{key}", f"unknown setting{hint}")


def of_direction(
    name: str,
    way: DirectionName,
    sender: str,
    info: Mapping[str, Any],
    problem: OnProblem,
    warning: Callable[[str], None],
) -> Way:
    """The settings of one direction of the link `name`; nothing where they are wrong."""
    params = "params1" if way == "forward" else "params2"
    known = (*_SETTINGS, "cls")
    of_both = {key: value for key, value in info.items() if key in known}
    of_end = {key: value for key, value in table(info.get(params)).items() if key in known}

    def surprise(key: str, message: str) -> None:
        warning(f"link {name}: {key}: {message}")

    for key in of_end:
        if key in of_both and of_both[key] != of_end[key]:
            # mininet.link.Link.__init__: params1.update(params)
            surprise(key, f"that of the link counts, not that of {params}, as in Mininet")
    told = tclink.translate(
        {**of_end, **of_both},
        sender,
        lambda key, message: problem(f"link {name}: {key}", message),
        surprise,
    )
    both = _read(name, told, problem)
    return _read(f"{name}.{way}", info.get(way) or {}, problem).over(both)


def _read(where: str, given: object, problem: OnProblem) -> Way:
    if type(given) is Way:
        return given
    if isinstance(given, str):
        try:
            given = Way.table_of(given)
        except QuantityError as error:
            problem(f"link {where}", str(error))
            return Way()
    if not isinstance(given, Mapping):
        problem(f"link {where}", f"expected a table or a text of settings (got {shown(given)})")
        return Way()
    reading = read(Way, given)
    for finding in reading.findings:
        problem(f"link {where}.{'.'.join(finding.path)}", finding.message)
    return reading.value or Way()


def table(value: object) -> Mapping[str, Any]:
    """A table that may be missing, or none."""
    return value if isinstance(value, Mapping) else {}
