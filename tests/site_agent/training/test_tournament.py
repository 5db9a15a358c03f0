import pytest
from hypothesis import given
from hypothesis import strategies as st

from site_agent.training.augmentation import PLAIN
from site_agent.training.candidates import candidates, combined
from site_agent.training.tournament import Entry, Merit, Rung, Tournament, rungs


def play(tournament, judge):
    """Return the merits of all entries of a tournament, each judged when its turn comes."""
    merits = {}
    while (entry := tournament.next(merits)) is not None:
        assert entry not in merits
        merits[entry] = judge(entry)
    return merits


def by_place(policies, order, together=1.0):
    """Judge single policies by their place in ``order``, best first, and combinations by a loss."""
    places = {policies[number]: place for place, number in enumerate(order)}

    def judge(entry):
        loss = places.get(entry.policy, together)
        return Merit(loss, -loss)

    return judge


@pytest.mark.parametrize(
    ("n", "epochs", "stages"),
    [
        (1, 10, [(1, 10)]),
        (3, 10, [(3, 10)]),
        (8, 10, [(8, 3), (3, 10)]),
        (8, 4, [(8, 4)]),
        (16, 40, [(16, 4), (6, 13), (2, 40)]),
    ],
)
def test_stages_thin_out_by_thirds_as_long_as_two_are_left(n, epochs, stages):
    assert rungs(n, epochs) == tuple(Rung(*stage) for stage in stages)


def test_the_best_alone_wins_over_a_combination_that_is_worse():
    policies = candidates(8, seed=0)
    tournament = Tournament(policies, 10)
    merits = play(tournament, by_place(policies, [5, 2, 0, 1, 3, 4, 6, 7], together=0.5))
    assert tournament.winner(merits) == policies[5]


def test_a_combination_of_the_best_wins_where_it_is_better():
    policies = candidates(8, seed=0)
    tournament = Tournament(policies, 10)
    merits = play(tournament, by_place(policies, [5, 2, 0, 1, 3, 4, 6, 7], together=-1))
    assert tournament.winner(merits) == combined((policies[5], policies[2], PLAIN))


def test_a_combination_that_is_only_as_good_does_not_win():
    policies = candidates(8, seed=0)
    tournament = Tournament(policies, 10)
    merits = play(tournament, by_place(policies, [5, 2, 0, 1, 3, 4, 6, 7], together=0))
    assert tournament.winner(merits) == policies[5]


def test_the_plain_policy_stays_to_the_end_and_wins_where_it_is_best_at_last():
    policies = candidates(16, seed=0)
    tournament = Tournament(policies, 9)

    def judge(entry):
        return Merit(0.0 if (entry.policy == PLAIN) == (entry.epochs == 9) else 1.0, 0.5)

    merits = play(tournament, judge)
    assert Entry(PLAIN, 9) in merits
    assert tournament.winner(merits) == PLAIN


def test_where_loss_and_auroc_disagree_the_loss_decides():
    policies = candidates(2, seed=0)
    tournament = Tournament(policies, 4)
    known = {policies[0]: Merit(0.3, 0.9), policies[1]: Merit(0.2, 0.6)}
    merits = play(tournament, lambda entry: known.get(entry.policy))
    assert tournament.winner(merits) == policies[1]


def test_entries_that_failed_are_never_chosen():
    policies = candidates(8, seed=0)
    tournament = Tournament(policies, 10)
    merits = play(tournament, lambda entry: Merit(1.0, 0.5) if entry.policy == PLAIN else None)
    assert tournament.winner(merits) == PLAIN
    assert sum(entry.epochs for entry in merits) == 8 * 3 + 10


def test_a_tournament_of_one_is_won_by_it():
    tournament = Tournament(candidates(1, seed=0), 10)
    assert tournament.winner(play(tournament, lambda _: Merit(1.0, 0.5))) == PLAIN


@given(st.integers(1, 40), st.integers(1, 60), st.randoms(use_true_random=False))
def test_epochs_are_as_announced_and_the_winner_is_not_worse_than_plain(n, epochs, chance):
    tournament = Tournament(candidates(n, seed=0), epochs)
    merits = play(tournament, lambda _: Merit(chance.random(), chance.random()))
    assert sum(entry.epochs for entry in merits) == tournament.total_epochs
    assert tournament.done(merits) == list(merits)
    plain, best = merits[Entry(PLAIN, epochs)], merits[Entry(tournament.winner(merits), epochs)]
    assert best.loss <= plain.loss or best.auroc >= plain.auroc
