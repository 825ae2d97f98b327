"""What several rules say together, as plain functions of numbers."""

import numpy as np

from dip_lightning.stopping import choose, disagree, lag_of, patience_after


def test_the_middle_pick_is_chosen_whatever_the_names_are() -> None:
    picks = {"a": 300, "b": 100, "c": 200}
    assert choose(picks, picks, (), voters=3, agree=2) == "c"
    assert choose({"a": 300, "b": 100}, ("a", "b"), (), voters=3, agree=2) == "a"  # of two the later


def test_a_rule_that_judges_the_output_wins_where_others_abstained_or_have_not_settled() -> None:
    picks = {"moves": 300, "output": 100, "other": 200}
    # Fewer than two have settled: the one that judges the output and has.
    assert choose(picks, ["output"], ("output", "other"), voters=3, agree=2) == "output"
    assert choose(picks, ["moves"], ("output", "other"), voters=3, agree=2) == "other"  # none such: the middle one
    two = {"moves": 300, "output": 100}
    assert choose(two, two, ("output",), voters=2, agree=2) == "output"
    assert choose(two, two, (), voters=2, agree=2) == "moves"
    both = {"output": 100, "other": 900}
    assert choose(both, ["output"], both, voters=2, agree=2) == "other"  # settled or not
    assert choose(picks, ["output", "moves"], ("output",), voters=3, agree=2) == "other"


def test_a_minimum_is_believed_after_half_its_iteration_and_at_least_four_hundred() -> None:
    minima = np.array([-1, 0, 799, 800, 802, 803, 5001])
    assert patience_after(minima, None, 0).tolist() == [400, 400, 400, 400, 401, 401, 2500]
    assert patience_after(minima, None, 450).tolist() == [450, 450, 450, 450, 450, 450, 2500]
    assert patience_after(minima, 7, 3).tolist() == [7] * 7
    assert patience_after(minima, 7, 9).tolist() == [9] * 7
    assert int(patience_after(1000, None, 0)) == 500
    # The pick of a growing average trails by half of the minimum's iteration, which is waited for.
    assert patience_after(minima, 7, None).tolist() == [7, 7, 399, 400, 401, 401, 2500]
    assert patience_after(minima, None, None).tolist() == patience_after(minima, None, 0).tolist()


def test_of_three_picks_the_middle_one_needs_another_nearby_and_two_lie_within_a_fifth() -> None:
    assert not disagree([100, 150, 200])
    assert not disagree([900, 100, 150])  # one rule may be wrong
    assert not disagree([10, 600, 900])
    assert disagree([100, 151, 227])
    assert disagree([3, 0, 9])
    assert not disagree([0, 0, 9])
    assert not disagree([100, 120])
    assert disagree([100, 121])
    assert not disagree([100])


def test_an_average_trails_by_twice_its_memory() -> None:
    assert [lag_of(alpha) for alpha in (0, 0.5, 0.8, 0.99)] == [2, 4, 10, 200]
    assert lag_of(None) is None  # of a memory that grows
