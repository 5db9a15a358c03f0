from collections import Counter

from federation.transfer.augmentation import OPERATIONS
from site_agent.training.augmentation import PLAIN
from site_agent.training.candidates import FAVOUR, candidates, combined


def test_the_first_candidate_is_the_plain_policy():
    assert candidates(1, seed=0) == (PLAIN,)
    assert candidates(5, seed=3)[0] == PLAIN


def test_other_candidates_are_one_chain_of_one_or_two_different_operations():
    for policy in candidates(60, seed=1)[1:]:
        (chain,) = policy.chains
        names = [operation.name for operation in chain]
        assert 1 <= len(names) == len(set(names)) <= 2


def test_every_operation_but_the_identity_comes_first_before_one_does_again():
    others = candidates(len(FAVOUR) + 1, seed=2)[1:]
    firsts = Counter(policy.chains[0][0].name for policy in others)
    assert firsts == Counter(set(OPERATIONS) - {"identity"})


def test_candidates_follow_from_the_seed_and_more_continue_fewer():
    assert candidates(20, seed=5)[:8] == candidates(8, seed=5)
    assert candidates(8, seed=5) != candidates(8, seed=6)
    assert len(set(candidates(20, seed=5))) == 20


def test_mirroring_and_inverting_are_for_half_of_the_images_only():
    operations = [o for policy in candidates(100, seed=0) for o in policy.chains[0]]
    for name in ("horizontal_flip", "vertical_flip", "invert"):
        assert {o.probability for o in operations if o.name == name} == {0.5}


def test_a_combination_has_the_chains_of_all():
    three = candidates(3, seed=0)
    assert combined(three).chains == tuple(policy.chains[0] for policy in three)
