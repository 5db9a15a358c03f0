import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import ConfigError
from federation.transfer.augmentation import (
    OPERATIONS,
    AugmentationPolicy,
    Operation,
    describe,
    from_text,
    to_text,
)
from federation.transfer.magnitudes import MAGNITUDES

SHARES = st.floats(0, 1)
CHAINS = st.lists(st.builds(Operation, name=st.sampled_from(OPERATIONS), probability=SHARES, strength=SHARES))
POLICIES = st.builds(
    AugmentationPolicy,
    chains=st.lists(CHAINS.map(lambda chain: tuple(chain[:4])), min_size=1, max_size=6).map(tuple),
    origin=st.text(max_size=200),
)


def policy(*chains):
    return AugmentationPolicy(
        chains=tuple(tuple(Operation(name=n, probability=p, strength=s) for n, p, s in c) for c in chains)
    )


def text(**operation):
    return json.dumps({"chains": [[{"name": "rotate", "probability": 0.5} | operation]]})


@given(POLICIES)
def test_a_policy_reads_back_as_it_was_written(written):
    assert from_text(to_text(written)) == written


def test_a_written_policy_has_one_operation_per_line():
    written = to_text(policy([("rotate", 0.5, 0.5), ("blur", 1.0, 0.1)], []))
    assert written.splitlines() == [
        "{",
        '  "origin": "",',
        '  "chains": [',
        '    [{"name": "rotate", "probability": 0.5, "strength": 0.5},',
        '     {"name": "blur", "probability": 1.0, "strength": 0.1}],',
        "    []",
        "  ]",
        "}",
    ]


def test_a_policy_is_described_in_plain_words():
    assert (
        describe(policy([("rotate", 0.5, 0.5), ("brightness", 1.0, 0.5)]))
        == "rotate up to 15° (half of the images), then brighter or darker by up to 30 %"
    )


def test_several_chains_are_described_as_alternatives_and_equal_ones_once():
    mirrored = [("horizontal_flip", 0.3, 0.5)]
    assert (
        describe(policy(mirrored, mirrored, [("identity", 0.5, 0.0)]))
        == "one of: mirror left and right (30 % of the images); or leave as it is"
    )


def test_every_operation_has_a_magnitude_and_words():
    assert tuple(MAGNITUDES) == OPERATIONS
    for name in OPERATIONS:
        assert "{" not in MAGNITUDES[name].describe(0.5)


@pytest.mark.parametrize(
    ("damaged", "complaint"),
    [
        (text(name="swirl"), "name"),
        (text(probability=1.5), "probability is 1.5, expected at most 1"),
        (text(strength=-0.1), "strength is -0.1, expected at least 0"),
        (text(strength=float("nan")), "nan"),
        (text(strength="strong"), 'strength is "strong", expected a number'),
        (text(angle=3), "angle: unknown key"),
        ('{"chains": []}', "chains has 0 of at least 1 entries"),
        ('{"origin": "x"}', "chains is missing"),
        ('{"chains": [', "no JSON"),
        ("[" * 50_000, "no JSON"),
        ("", "no JSON"),
        (" " * 100_001, "100,001 characters, expected at most 100,000"),
    ],
)
def test_a_damaged_policy_is_refused_with_what_is_wrong(damaged, complaint):
    with pytest.raises(ConfigError, match="augmentation policy") as refused:
        from_text(damaged)
    assert complaint in refused.value.problem
    assert refused.value.remedy
