import math

import numpy as np
import pytest
from benchmarks.scaling.model import (
    Fabric,
    Link,
    Work,
    compute_s,
    expected_largest,
    fit_line,
    hierarchical_s,
    link_of_two,
    ring_s,
    step_s,
    tree_s,
)
from hypothesis import given
from hypothesis import strategies as st

NODE, NETWORK = Link(2e-6, 400e9), Link(8e-6, 40e9)
FABRIC = Fabric(NODE, NETWORK)
ranks = st.integers(2, 2048)
sizes = st.floats(1.0, 1e10)


def test_one_process_communicates_nothing() -> None:
    assert ring_s(1, 1e9, NODE) == tree_s(1, 1e9, NODE) == hierarchical_s(1, 1e9, FABRIC) == 0
    work = Work(0.01, 0.002, 0.005, variation=0.4)
    assert step_s(work, 1, 10, 0.0) == pytest.approx(0.01 + 0.02 + 0.005)


def test_ring_of_two_sends_every_byte_once_and_a_large_one_twice() -> None:
    assert ring_s(2, 8e6, Link(0.0, 1e9)) == pytest.approx(0.008)
    assert ring_s(10**6, 8e6, Link(0.0, 1e9)) == pytest.approx(0.016, rel=1e-5)


def test_ring_of_small_messages_costs_a_latency_for_every_hop_there_and_back() -> None:
    assert ring_s(5, 0.0, Link(1e-6, 1e9)) == pytest.approx(8e-6)


def test_tree_grows_with_the_logarithm() -> None:
    link = Link(1e-6, 1e9)
    assert tree_s(1024, 0.0, link) == pytest.approx(20e-6)
    assert tree_s(5, 0.0, link) == tree_s(8, 0.0, link) == pytest.approx(6e-6)


@given(ranks, sizes)
def test_more_ranks_and_more_bytes_never_cost_less(number: int, size: float) -> None:
    for time_of in (ring_s, tree_s):
        assert time_of(number, size, NETWORK) <= time_of(number + 1, size, NETWORK)
        assert time_of(number, size, NETWORK) < time_of(number, 2 * size, NETWORK)


def test_within_a_node_the_network_does_not_matter() -> None:
    assert hierarchical_s(8, 4e6, FABRIC) == ring_s(8, 4e6, NODE)
    assert hierarchical_s(4, 4e6, Fabric(NODE, Link(1.0, 1.0))) == ring_s(4, 4e6, NODE)


def test_between_nodes_each_gpu_sends_its_part_the_faster_way() -> None:
    small, large = 1e3, 1e10
    inside = ring_s(8, small, NODE)
    assert hierarchical_s(1024, small, FABRIC) == pytest.approx(inside + tree_s(128, small / 8, NETWORK))
    inside = ring_s(8, large, NODE)
    assert hierarchical_s(32, large, FABRIC) == pytest.approx(inside + ring_s(4, large / 8, NETWORK))


def test_two_levels_of_one_kind_of_link_send_as_much_as_one_ring() -> None:
    link = Link(0.0, 1e9)
    assert hierarchical_s(64, 1e9, Fabric(link, link)) == pytest.approx(ring_s(64, 1e9, link))


def test_part_of_a_node_is_refused() -> None:
    with pytest.raises(ValueError, match="12 ranks are no whole number of nodes of 8"):
        hierarchical_s(12, 1e6, FABRIC)


def test_expected_largest_of_normal_numbers() -> None:
    assert expected_largest(1) == 0
    assert expected_largest(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-6)
    assert expected_largest(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-6)
    drawn = np.random.default_rng(0).standard_normal((4000, 256)).max(1).mean()
    assert expected_largest(256) == pytest.approx(drawn, abs=0.03)


def test_slowest_rank_waits_for_the_larger_molecules() -> None:
    work = Work(0.0, 1e-3, 0.0, variation=0.5)
    assert compute_s(work, 2, 25) == pytest.approx(0.025 * (1 + 0.1 / math.sqrt(math.pi)))
    relative = [compute_s(work, 16, share) / share for share in (8, 32, 128)]
    assert relative == sorted(relative, reverse=True)


def test_starting_kernels_bounds_a_step_from_below() -> None:
    work = Work(0.0, 1e-6, 0.0, variation=0.5, least_s=0.02)
    assert compute_s(work, 1024, 8) == 0.02
    assert compute_s(work, 1, 10**6) == pytest.approx(1.0)


def test_jitter_makes_the_slowest_of_many_slow() -> None:
    work = Work(0.0, 1e-3, 0.0, jitter=0.1)
    assert compute_s(work, 1, 20) == pytest.approx(0.02)
    assert compute_s(work, 2, 20) == pytest.approx(0.02 * (1 + 0.1 / math.sqrt(math.pi)))
    both = Work(0.0, 1e-3, 0.0, variation=0.3, jitter=0.1)
    assert compute_s(both, 2, 9) == pytest.approx(0.009 * (1 + math.sqrt(0.02 / math.pi)))
    assert compute_s(Work(0.0, 0.0, 0.0, least_s=0.01, jitter=0.1), 3, 9) == pytest.approx(
        0.01 * (1 + 0.15 / math.sqrt(math.pi))
    )


def test_overlap_hides_no_more_than_there_is() -> None:
    work = Work(0.0, 1e-3, 0.004)
    assert step_s(work, 2, 30, 0.010) == pytest.approx(0.044)
    assert step_s(work, 2, 30, 0.010, overlapped=0.5) == pytest.approx(0.034)
    assert step_s(work, 2, 30, 0.040, overlapped=0.5) == pytest.approx(0.034 + 0.025)


@given(ranks, st.floats(1.0, 1e3), sizes)
def test_no_group_is_faster_than_ideal(number: int, molecules: float, size: float) -> None:
    work = Work(0.003, 0.0005, 0.002, variation=0.3, least_s=0.01)
    one, many = step_s(work, 1, molecules, 0.0), step_s(work, number, molecules, ring_s(number, size, NETWORK))
    assert many >= one  # weak scaling
    strong = step_s(work, number, molecules / number, ring_s(number, size, NETWORK))
    assert strong >= one / number


@given(st.floats(1e-6, 1e-3), st.floats(1e6, 1e12))
def test_fit_finds_the_link_that_made_the_times(latency_s: float, bytes_per_s: float) -> None:
    link, places = Link(latency_s, bytes_per_s), [4.0**power for power in range(6, 13)]
    found = link_of_two(places, [ring_s(2, place, link) for place in places])
    assert found.latency_s == pytest.approx(latency_s, rel=1e-3)
    assert 1 / found.bytes_per_s == pytest.approx(1 / bytes_per_s, rel=1e-3, abs=1e-3 * latency_s / places[-1])


def test_fit_is_never_negative() -> None:
    start, slope = fit_line([1, 2, 3], [1.0, 2.1, 3.3])
    assert start == 0
    assert slope == pytest.approx(1.06, abs=0.03)
    assert fit_line([1, 2, 4], [3.0, 2.0, 1.0])[1] == 0


def test_a_line_needs_two_places() -> None:
    with pytest.raises(ValueError, match="two different places"):
        fit_line([2, 2], [1.0, 1.1])
