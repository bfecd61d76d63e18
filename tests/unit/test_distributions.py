"""Rule: a shape with a name is iproute2's, and both backends get the same table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.network.relay.distributions import named_table, negative_ratio, offsets_ns, table_of
from testbed.scenario.impairments import Variation
from testbed.scenario.tables import DISTRIBUTION_SCALE, read_distribution

MS = 1_000_000
SHAPES = ("normal", "pareto", "paretonormal")


def iproute2(name: str) -> Path:
    """iproute2's own table."""
    folders = [*Path("/usr/lib").glob("*/tc"), Path("/usr/lib/tc"), Path("/usr/share/tc")]
    found = [folder / f"{name}.dist" for folder in folders]
    file = next((path for path in found if path.is_file()), None)
    if file is None:
        pytest.skip(f"iproute2 has no {name}.dist here")
    return file


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_that_of_iproute2s_table(name: str) -> None:
    theirs = np.array(read_distribution(str(iproute2(name))))
    ours = named_table(name)
    assert len(ours) == len(theirs)
    # Its tables are made in other ways (sums, other midpoints): entries differ by some thousandths
    # of a standard deviation, and beyond 99 %, where an entry is rare, by some hundredths.
    for share, bound in ((0.01, 0.01), (0.05, 0.01), (0.25, 0.01), (0.5, 0.01), (0.75, 0.01),
                         (0.9, 0.01), (0.95, 0.01), (0.99, 0.15)):  # fmt: skip
        both = np.quantile(theirs, share), np.quantile(ours, share)
        assert abs(both[0] - both[1]) <= bound * DISTRIBUTION_SCALE, (share, both)
    assert abs(theirs.mean() - ours.mean()) < 0.005 * DISTRIBUTION_SCALE
    assert abs(theirs.std() - ours.std()) < 0.02 * DISTRIBUTION_SCALE


@pytest.mark.parametrize("name", SHAPES)
def test_a_table_ascends_and_fits_16_bits(name: str) -> None:
    table = named_table(name)
    assert (np.diff(table) >= 0).all()
    assert -32768 <= table[0] < table[-1] <= 32767


def test_the_normal_shape_has_its_mean_and_standard_deviation() -> None:
    table = named_table("normal") / DISTRIBUTION_SCALE
    assert table.mean() == pytest.approx(0, abs=1e-6)
    assert table.std() == pytest.approx(1, abs=1e-3)


def test_the_long_tail_is_cut_where_a_table_ends() -> None:
    # 16 bits hold four standard deviations; what pareto loses there is in the documentation.
    table = named_table("pareto") / DISTRIBUTION_SCALE
    assert table.max() == pytest.approx(4, abs=1e-3)
    assert table.std() == pytest.approx(0.82, abs=0.005)
    assert table.mean() == pytest.approx(-0.033, abs=0.001)


def test_a_table_of_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mine.dist"
    file.write_text("-8192 0 0 8192\n")
    variation = Variation(spread_ns=2 * MS, distribution="table", file=str(file))
    assert table_of(variation).tolist() == [-8192, 0, 0, 8192]
    draws = np.arange(8, dtype=np.uint64)
    found = offsets_ns(draws, variation.spread_ns, table_of(variation))
    assert found.tolist() == [-2 * MS, 0, 0, 2 * MS] * 2


def test_uniform_needs_no_table_and_is_as_wide_as_asked_for() -> None:
    table = named_table("uniform")
    assert table.size == 0
    ends = np.array([0, 2**63, 2**64 - 1], np.uint64)
    assert offsets_ns(ends, 5, table).tolist() == [-5, 0, 4]
    draws = np.random.default_rng(1).integers(0, 2**64, 100_000, np.uint64, endpoint=False)
    found = offsets_ns(draws, MS, table)
    assert -MS <= found.min() < found.max() < MS
    # Standard errors: of a mean 1/sqrt(3 n), of a standard deviation 1/sqrt(n) at most.
    assert abs(found.mean()) < 4 * MS / np.sqrt(3 * 100_000)
    assert found.std() == pytest.approx(MS / np.sqrt(3), rel=0.01)


@pytest.mark.parametrize("name", ["uniform", *SHAPES])
def test_a_spread_of_nothing_changes_nothing(name: str) -> None:
    variation = Variation(spread_ns=0, distribution=name)  # type: ignore[arg-type]
    draws = np.array([0, 12345, 2**64 - 1], np.uint64)
    assert offsets_ns(draws, 0, table_of(variation)).tolist() == [0, 0, 0]
    assert negative_ratio(variation, 0) == 0.0


@pytest.mark.parametrize(
    ("name", "spread_ns", "delay_ns", "ratio"),
    [
        ("uniform", 2 * MS, 2 * MS, 0.0),
        ("uniform", 2 * MS, MS, 0.25),
        ("uniform", 2 * MS, 0, 0.5),
        ("normal", 2 * MS, 20 * MS, 0.0),
        ("normal", 2 * MS, 2 * MS, 0.1587),
        ("normal", 2 * MS, 0, 0.5),
        ("pareto", 2 * MS, 2 * MS, 0.0),
    ],
)
def test_the_share_that_would_leave_before_it_came(
    name: str, spread_ns: int, delay_ns: int, ratio: float
) -> None:
    variation = Variation(spread_ns=spread_ns, distribution=name)  # type: ignore[arg-type]
    # An entry of a table is 1/4096 of the packets.
    assert negative_ratio(variation, delay_ns) == pytest.approx(ratio, abs=2 / 4096)


@given(
    name=st.sampled_from(["uniform", *SHAPES]),
    spread_ns=st.integers(1, 10**12),
    delay_ns=st.integers(0, 10**12),
)
def test_the_share_is_that_of_the_offsets(name: str, spread_ns: int, delay_ns: int) -> None:
    variation = Variation(spread_ns=spread_ns, distribution=name)  # type: ignore[arg-type]
    draws = np.random.default_rng(3).integers(0, 2**64, 4_000, np.uint64, endpoint=False)
    found = (offsets_ns(draws, spread_ns, table_of(variation)) + delay_ns < 0).mean()
    # Five standard errors of a share.
    assert found == pytest.approx(negative_ratio(variation, delay_ns), abs=5 * 0.5 / 4_000**0.5)
