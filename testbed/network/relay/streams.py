"""Random numbers that depend on nothing but their key and their index.

Rules:

- A stream's key is (seed, link, direction, impairment); its n-th number is a function of the key
  and n. So the same seed gives the same fates whatever the timing, and turning one impairment on
  changes no other.
- `slice` gives many at once, for what is decided ahead in blocks; `at` one.
- Philox4x64-10 is counter-based: block k is computed from the key and k alone (Salmon et al.,
  "Parallel random numbers: as easy as 1, 2, 3", SC11). NumPy's stream of it is stable (NEP 19).
"""

from __future__ import annotations

import hashlib
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Numbers: TypeAlias = npt.NDArray[np.uint64]
Flags: TypeAlias = npt.NDArray[np.bool_]

_BLOCK: Final = 1024
_WORDS_PER_COUNTER: Final = 4


class Stream:
    """64-bit unsigned numbers, uniform, by index."""

    def __init__(self, seed: int, link: str, direction: str, impairment: str) -> None:
        text = "\0".join((str(seed), link, direction, impairment)).encode()
        digest = hashlib.blake2b(text, digest_size=16).digest()
        self._key = np.frombuffer(digest, dtype="<u8")
        self._block_number = 0
        # Not at the first packet: NumPy loads its generators when they are first used, which takes
        # 30 ms.
        self._block = self._make_block(0)

    def _make_block(self, number: int) -> list[int]:
        block: list[int] = self.slice(number * _BLOCK, _BLOCK).tolist()
        return block

    def slice(self, first: int, count: int) -> Numbers:
        """The numbers at `first` to `first + count - 1`."""
        generator = np.random.Philox(key=self._key)
        skipped = first % _WORDS_PER_COUNTER
        generator.advance(first // _WORDS_PER_COUNTER)
        raw: Numbers = generator.random_raw(skipped + count)
        return raw[skipped:]

    def at(self, index: int) -> int:
        """The number at `index`, 0 to 2**64 - 1; cheap when indices come in order."""
        number, offset = divmod(index, _BLOCK)
        if number != self._block_number:
            self._block = self._make_block(number)
            self._block_number = number
        return self._block[offset]


def threshold(ratio: float) -> int:
    """The bound below which a 64-bit number falls with probability `ratio`; 2**64 for 1."""
    return round(ratio * 2**64)


def below(numbers: Numbers, ratio: float) -> Flags:
    """Which of these numbers fall with probability `ratio`."""
    bound = threshold(ratio)
    if bound >= 2**64:
        return np.ones(numbers.size, np.bool_)
    chosen: Flags = numbers < np.uint64(bound)
    return chosen
