"""Rule: the kernel that these tests run on has everything that the testbed can use of a kernel."""

from __future__ import annotations

import pytest

from tests.support.kernel_features import OPEN_VSWITCH, QDISCS, found


@pytest.mark.parametrize("feature", [*QDISCS, OPEN_VSWITCH])
def test_this_kernel_has_it(feature: str) -> None:
    if feature not in found():
        pytest.skip(f"this kernel has no {feature}")
    assert feature in found()
