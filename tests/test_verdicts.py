import math

import numpy as np
import pytest

from train.verdicts import Trial, holm, judge, t_cdf, t_quantile


def trials(**arms):
    """Arms as lists of bits per byte, seeds 0, 1, 2, ..."""
    return [
        Trial(arm, seed, {"bpb": value})
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]


def words(judgement):
    return {v.arm: v.word for v in judgement.verdicts}


@pytest.mark.parametrize(
    ("p", "df", "quantile"),
    [  # of any printed table
        (0.975, 1, 12.7062),
        (0.975, 2, 4.30265),
        (0.975, 4, 2.77645),
        (0.95, 9, 1.83311),
        (0.995, 30, 2.7499957),
        (0.8, 2, 1.06066),
        (0.9995, 2, 31.5991),
        (0.975, 1e7, 1.959964),
        (0.025, 2, -4.30265),
        (0.5, 3, 0.0),
    ],
)
def test_quantiles_of_t(p, df, quantile):
    assert t_quantile(p, df) == pytest.approx(quantile, rel=2e-6, abs=1e-9)
    assert t_cdf(quantile, df) == pytest.approx(p, abs=1e-6)


def test_closed_forms_of_t():
    for t in (-5.0, -0.3, 0.0, 1.0, 40.0):
        assert t_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, rel=1e-12)
        assert t_cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), rel=1e-9)
    with pytest.raises(ValueError):
        t_quantile(1.0, 2)


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, None, 0.6]) == [1.0, None, 1.0]
    assert holm([]) == []


def test_better_worse_and_not_shown():
    """Differences -.10, -.11, -.12: mean -.11, sd .01, error .01 / sqrt 3, t = 19.05, two-sided p
    with 2 degrees of freedom .002743."""
    found = judge(
        trials(
            base=[1.00, 1.05, 0.98],
            less=[0.90, 0.94, 0.86],
            more=[1.10, 1.16, 1.10],
            same=[1.02, 1.04, 0.98],
        ),
        "base",
    )
    assert words(found) == {"less": "better", "more": "worse", "same": "no difference shown"}
    less = found.verdicts[0]
    assert less.n == 3
    assert less.difference == pytest.approx(-0.11)
    assert less.standard_error == pytest.approx(0.01 / math.sqrt(3))
    assert less.p == pytest.approx(0.002743, rel=1e-3)
    assert less.p_corrected == pytest.approx(3 * 0.002743, rel=1e-3)
    assert less.high == pytest.approx(-0.11 + 4.30265 * 0.01 / math.sqrt(3))
    # alpha .05 over 3 arms: t(1 - .05 / 6, 2 df) = 7.6488, and t(.8, 2 df) = 1.0607
    assert less.detectable == pytest.approx((7.6488 + 1.06066) * 0.01 / math.sqrt(3), rel=1e-4)


def test_higher_may_be_better():
    rows = trials(base=[0.50, 0.55, 0.48], arm=[0.60, 0.66, 0.60])
    assert words(judge(rows, "base")) == {"arm": "worse"}
    assert words(judge(rows, "base", higher_is_better=frozenset(["bpb"]))) == {"arm": "better"}


def test_pairs_take_out_what_the_seed_does():
    """Seeds differ by .5, the arm by .02 within each."""
    found = judge(trials(base=[1.0, 1.5, 2.0], arm=[0.98, 1.481, 1.979]), "base")
    assert words(found) == {"arm": "better"}


def test_correction_takes_a_verdict_away():
    arms = {f"arm{i}": [1.0, 1.0, 1.0 + i / 1000] for i in range(1, 10)}
    alone = trials(base=[1.0, 1.0, 1.0], lucky=[0.98, 0.97, 0.975])
    assert words(judge(alone, "base")) == {"lucky": "better"}
    many = judge(alone + trials(**arms), "base")
    assert words(many)["lucky"] == "no difference shown"
    assert many.verdicts[0].p < 0.05 < many.verdicts[0].p_corrected


def test_one_seed_and_no_seed():
    found = judge([*trials(base=[1.0], arm=[0.5]), Trial("other", 7, {"bpb": 0.5})], "base")
    assert words(found) == {
        "arm": "one seed: no verdict",
        "other": "no seed in common with the base: no verdict",
    }
    assert found.verdicts[0].difference == -0.5
    assert found.verdicts[0].standard_error is None


def test_diverged_trials_are_marked_and_not_averaged_away():
    rows = trials(base=[1.00, 1.05, 0.98], arm=[0.90, math.nan, 0.86], wild=[math.inf] * 3)
    found = judge(rows, "base")
    assert words(found) == {"arm": "diverged: no verdict", "wild": "diverged: no verdict"}
    assert found.verdicts[0].diverged == [1]
    assert found.verdicts[0].n == 2 and found.verdicts[1].n == 0
    assert "arm: diverged with seed 1" in found.notes
    assert "wild: diverged with seed 0, 1, 2" in found.notes


def test_a_base_that_diverged_costs_the_pair():
    found = judge(trials(base=[1.0, math.nan, 0.98, 1.1], arm=[0.90, 0.91, 0.88, 1.01]), "base")
    assert found.verdicts[0].n == 3
    assert found.verdicts[0].base_diverged == [1]
    assert words(found) == {"arm": "better"}
    assert "the base diverged with seed 1: left out for all" in found.notes


def test_control():
    base = {"base": [1.00, 1.05, 0.98], "arm": [1.01, 1.04, 0.98]}
    seen = judge(trials(**base, noise=[1.20, 1.26, 1.20]), "base", control="noise")
    assert seen.could_see == {"bpb": True}
    assert seen.notes == []
    # it is no part of the family that is corrected
    assert seen.verdicts[1].p == seen.verdicts[1].p_corrected
    assert seen.verdicts[0].p == seen.verdicts[0].p_corrected
    for values in ([1.02, 1.04, 0.98], [0.8, 0.86, 0.8], [2.0, math.nan, 2.0]):
        blind = judge(trials(**base, noise=values), "base", control="noise")
        assert blind.could_see == {"bpb": False}
        assert "the ablation could not see" in blind.notes[0]
    assert judge(trials(**base), "base").could_see is None
    assert "no control" in judge(trials(**base), "base").notes[0]


def test_equal_differences_have_no_error():
    assert words(judge(trials(base=[1.0, 2.0], arm=[0.5, 1.5]), "base")) == {"arm": "better"}
    assert words(judge(trials(base=[1.0, 2.0], arm=[1.0, 2.0]), "base")) == {
        "arm": "no difference shown"
    }


def test_false_alarms_are_as_rare_as_promised_and_the_detectable_effect_is_detected():
    """300 ablations of four arms with three seeds. Nothing to find: 5 % of them find something. An
    effect of the expected minimum: found in most."""
    generator = np.random.default_rng(0)
    false, found, n = 0, 0, 300
    sigma = 0.01 * math.sqrt(2 / 3)
    effect = (t_quantile(1 - 0.05 / 8, 2) + t_quantile(0.8, 2)) * sigma
    for _ in range(n):
        seeds = generator.normal(1, 0.1, 3)
        noise = generator.normal(0, 0.01, (5, 3))
        arms = {f"arm{i}": (seeds + noise[i]).tolist() for i in range(4)}
        verdicts = judge(trials(base=(seeds + noise[4]).tolist(), **arms), "base").verdicts
        false += any(v.word != "no difference shown" for v in verdicts)
        arms["arm0"] = (seeds + noise[0] - effect).tolist()
        verdicts = judge(trials(base=(seeds + noise[4]).tolist(), **arms), "base").verdicts
        found += verdicts[0].word == "better"
    assert false / n < 0.08
    assert found / n > 0.6


@pytest.mark.parametrize(
    ("rows", "base", "control", "message"),
    [
        (trials(a=[1.0]), "b", None, "base: no trial of an arm 'b'"),
        (trials(a=[1.0]), "a", "c", "control: no trial of an arm 'c'"),
        (trials(a=[1.0]), "a", "a", "is the base"),
        (trials(a=[1.0]) * 2, "a", None, "two trials with seed 0"),
    ],
)
def test_mistakes(rows, base, control, message):
    with pytest.raises(ValueError, match=message):
        judge(rows, base, control)
