"""Network namespaces: made, and visited."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from testbed.sandbox.syscalls import CLONE_NEWNET, MS_BIND, mount, setns, unshare


@contextmanager
def visiting(path: str) -> Iterator[None]:
    """Moves the calling thread into the network namespace at `path` for a ``with`` block.

    Sockets and devices that are opened in the block belong to that namespace for good.

    Raises:
        OSError: there is no such namespace.
    """
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        theirs = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(theirs, CLONE_NEWNET)
        finally:
            os.close(theirs)
        try:
            yield
        finally:
            setns(own, CLONE_NEWNET)
    finally:
        os.close(own)


def of_node(name: str) -> str:
    """The path of a node's network namespace."""
    return f"/run/netns/{name}"


def of_process(process_id: int) -> str:
    """The path of a process's network namespace."""
    return f"/proc/{process_id}/ns/net"


def create(path: str) -> None:
    """Makes a network namespace that lasts as long as the mount of its name, as `ip netns add`.

    The calling thread is in its own again afterwards.

    Raises:
        OSError: the kernel refused, or the name is taken.
    """
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNET)
        try:
            mount("/proc/thread-self/ns/net", path, flags=MS_BIND)
        finally:
            setns(own, CLONE_NEWNET)
    finally:
        os.close(own)
