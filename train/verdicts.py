"""Is an arm better than the base, and could these trials have shown it?

Differences are taken within a seed (equal first weights, equal order of the rows), which removes
what the seed does to both; their mean has a standard error over seeds and Student's t distribution
with n - 1 degrees of freedom. With three seeds a difference has to be 4.3 standard errors to count,
so every verdict comes with the minimum detectable effect of the design. Arms are corrected for
their number (Holm 1979); the negative control, which has to be worse, is a test of its own.

Trials that diverged are no numbers to average: their arm gets no verdict from the seeds that are
left, since those were chosen by their result.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

BETTER, WORSE = "better", "worse"
NOT_SHOWN = "no difference shown"
ONE_SEED = "one seed: no verdict"
DIVERGED = "diverged: no verdict"
NO_PAIR = "no seed in common with the base: no verdict"
POWER = 0.8  # of the minimum detectable effect


class Trial(NamedTuple):
    """measures: NaN or infinity where it diverged."""

    arm: str
    seed: int
    measures: dict[str, float]


class Verdict(NamedTuple):
    arm: str
    measure: str
    n: int  # pairs of finite results
    difference: float | None  # mean of arm - base
    standard_error: float | None
    low: float | None  # 1 - alpha interval of this arm alone
    high: float | None
    p: float | None  # two-sided
    p_corrected: float | None  # by Holm, over the arms
    detectable: float | None  # the smallest difference found with POWER at alpha / number of arms
    word: str
    diverged: list[int]  # seeds in which the arm did
    base_diverged: list[int]  # seeds that are no use for that reason


class Judgement(NamedTuple):
    verdicts: list[Verdict]
    could_see: dict[str, bool] | None  # by measure: the control was found worse; None: no control
    notes: list[str]


def judge(
    trials: Sequence[Trial],
    base: str,
    control: str | None = None,
    higher_is_better: frozenset[str] = frozenset(),
    alpha: float = 0.05,
) -> Judgement:
    """A verdict for each measure and arm, in the order of the trials. Raises ValueError for trials
    that cannot be compared."""
    _check(trials, base, control)
    arms = [arm for arm in dict.fromkeys(t.arm for t in trials) if arm != base]
    measures = list(dict.fromkeys(name for t in trials for name in t.measures))
    verdicts: list[Verdict] = []
    for measure in measures:
        family = [arm for arm in arms if arm != control]
        found = {
            arm: _compare(trials, arm, base, measure, alpha, 1 if arm == control else len(family))
            for arm in arms
        }
        corrected = holm([found[arm].p for arm in family])
        corrected += [found[arm].p for arm in arms if arm == control]
        for arm, p in zip([*family, *(a for a in arms if a == control)], corrected, strict=True):
            word = found[arm].word
            difference = found[arm].difference
            if word == NOT_SHOWN and p is not None and p < alpha and difference:
                word = BETTER if (difference > 0) == (measure in higher_is_better) else WORSE
            found[arm] = found[arm]._replace(p_corrected=p, word=word)
        verdicts += [found[arm] for arm in arms]
    could_see = {v.measure: v.word == WORSE for v in verdicts if v.arm == control}
    return Judgement(verdicts, could_see if control else None, notes_of(verdicts, control))


def _check(trials: Sequence[Trial], base: str, control: str | None) -> None:
    names = {t.arm for t in trials}
    for what, name in (("base", base), ("control", control)):
        if name is not None and name not in names:
            raise ValueError(f"{what}: no trial of an arm {name!r}; there are {sorted(names)}")
    if base == control:
        raise ValueError(f"control: {control!r} is the base")
    seen: set[tuple[str, int]] = set()
    for t in trials:
        if (t.arm, t.seed) in seen:
            raise ValueError(f"{t.arm}: two trials with seed {t.seed}")
        seen.add((t.arm, t.seed))


def _compare(
    trials: Sequence[Trial], arm: str, base: str, measure: str, alpha: float, family: int
) -> Verdict:
    """Everything but the correction; the word is one that needs no p, or NOT_SHOWN."""
    of_base = {
        t.seed: t.measures[measure] for t in trials if t.arm == base and measure in t.measures
    }
    of_arm = {t.seed: t.measures[measure] for t in trials if t.arm == arm and measure in t.measures}
    diverged = sorted(seed for seed, value in of_arm.items() if not math.isfinite(value))
    lost = sorted(seed for seed in of_arm if not math.isfinite(of_base.get(seed, 0.0)))
    pairs = [
        value - of_base[seed]
        for seed, value in sorted(of_arm.items())
        if seed in of_base and math.isfinite(value) and math.isfinite(of_base[seed])
    ]
    n = len(pairs)
    word = NOT_SHOWN
    if diverged:
        word = DIVERGED
    elif n == 0:
        word = NO_PAIR
    elif n == 1:
        word = ONE_SEED
    mean = math.fsum(pairs) / n if n else None
    if mean is None or n < 2:
        nothing = (None, None, None, None, None, None)
        return Verdict(arm, measure, n, mean, *nothing, word, diverged, lost)
    error = math.sqrt(math.fsum((x - mean) ** 2 for x in pairs) / (n - 1) / n)
    reach = t_quantile(1 - alpha / 2, n - 1) * error
    p = 2 * t_cdf(-abs(mean / error), n - 1) if error else float(mean == 0)
    strict = t_quantile(1 - alpha / (2 * family), n - 1)
    detectable = (strict + t_quantile(POWER, n - 1)) * error
    numbers = (mean, error, mean - reach, mean + reach, p, None, detectable)
    return Verdict(arm, measure, n, *numbers, word, diverged, lost)


def notes_of(verdicts: list[Verdict], control: str | None) -> list[str]:
    """What a reader has to know before the table."""
    notes = []
    for v in verdicts:
        if v.arm == control and v.word != WORSE:
            notes.append(
                f"{v.measure}: the ablation could not see: the control {control!r} was not found "
                f"worse ({v.word}), so a verdict of no difference says nothing here"
            )
    if control is None:
        notes.append("no control: nothing shows that the ablation could have seen a difference")
    for arm in dict.fromkeys(v.arm for v in verdicts):
        seeds = sorted({seed for v in verdicts if v.arm == arm for seed in v.diverged})
        if seeds:
            notes.append(f"{arm}: diverged with seed {', '.join(map(str, seeds))}")
    lost = sorted({seed for v in verdicts for seed in v.base_diverged})
    if lost:
        notes.append(f"the base diverged with seed {', '.join(map(str, lost))}: left out for all")
    return notes


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (1979): the smallest times m, the next times m - 1, ..., never
    falling. None, where no test was made, does not count in m."""
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    out: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        out[i] = largest
    return out


# --- Student's t, which scipy would bring --------------------------------------------------------


def t_cdf(t: float, df: float) -> float:
    """P(T <= t)."""
    tail = 0.5 * _incomplete_beta(df / (df + t * t), df / 2, 0.5)
    return tail if t < 0 else 1 - tail


def t_quantile(p: float, df: float) -> float:
    """By bisection, to 12 digits."""
    if not 0 < p < 1:
        raise ValueError(f"p: {p} is not within 0..1, ends left out")
    if p < 0.5:
        return -t_quantile(1 - p, df)
    low, high = 0.0, 1.0
    while t_cdf(-high, df) > 1 - p:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        if t_cdf(-middle, df) > 1 - p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """I_x(a, b), regularised, by Lentz's continued fraction (Press et al. 2007, section 6.4)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly, its mirror does not
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    tiny = 1e-300
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 + term * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + term / c
            c = c if abs(c) > tiny else tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * value / a
