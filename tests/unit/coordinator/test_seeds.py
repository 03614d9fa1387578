"""Seeds of a campaign's random choices."""

from hypothesis import given
from hypothesis import strategies as st

from gapsmith.coordinator.pool import seed
from gapsmith.core.campaign import parse_campaign


@given(own=st.integers(0, 2**31 - 1), counter=st.integers(0, 10_000))
def test_a_seed_is_fixed_by_campaign_purpose_and_counter(own: int, counter: int) -> None:
    config = parse_campaign({"name": "a", "target": {"value": 4.0}, "seed": own})
    value = seed(config, 2, counter)
    assert 0 <= value < 2**31
    assert value == seed(config, 2, counter)


def test_requests_of_a_campaign_and_campaigns_of_other_seeds_draw_differently() -> None:
    configs = [parse_campaign({"name": "a", "target": {"value": 4.0}, "seed": own}) for own in range(20)]
    values = [seed(config, stream, counter) for config in configs for stream in range(4) for counter in range(20)]
    assert len(set(values)) == len(values)
