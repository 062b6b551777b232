"""Means over a range of densities, paired differences within seeds, and their intervals and tests."""
import functools
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stats import NAN, density, early_test_acc  # noqa: E402

Values = dict[str, dict[int, float]]    # {scheme: {seed: value}}
FEWEST = 6                              # pairs that can give p below 5%: 2 / 64


class Spread(NamedTuple):
    """Mean and standard deviation of n numbers; the latter is NaN of one."""
    mean: float
    sd: float
    n: int


class Estimate(NamedTuple):
    """Mean of n paired differences and its 95% Student's t interval, which is NaN of one."""
    mean: float
    low: float
    high: float
    n: int


class Ratio(Estimate):
    """The same of ratios: a geometric mean and its interval."""


class Correlation(NamedTuple):
    """Mean, least and largest of rank correlations within n seeds."""
    mean: float
    least: float
    largest: float
    n: int


def spread(values: Iterable[float]) -> Spread | None:
    """Mean and standard deviation, None of no values."""
    values = np.array(list(values))
    if not len(values):
        return None
    return Spread(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else NAN, len(values))


def half_width(sd: float, n: int) -> float:
    """Half the width of the 95% Student's t interval of a mean of n values; NaN below two. Arrays will do."""
    return scipy.stats.t.ppf(0.975, np.asarray(n) - 1) * sd / np.sqrt(n)


def estimate(differences: np.ndarray) -> Estimate | None:
    """The mean of differences (n,) and its interval, None of none."""
    found = spread(differences)
    if found is None:
        return None
    half = float(half_width(found.sd, found.n))
    return Estimate(found.mean, found.mean - half, found.mean + half, found.n)


def ratio(logarithms: np.ndarray) -> Ratio:
    """The geometric mean of ratios, from their logarithms (n,), and its interval."""
    mean, low, high, n = estimate(logarithms)
    return Ratio(math.exp(mean), math.exp(low), math.exp(high), n)


def correlation(found: np.ndarray) -> Correlation:
    """Mean and ends of rank correlations (n,)."""
    return Correlation(float(found.mean()), float(found.min()), float(found.max()), len(found))


def level_near(densities: Iterable[float], wanted: float) -> int | None:
    """Index of the level nearest in ratio to a density; None where that is off by more than a tenth."""
    gaps = np.abs(np.log(np.asarray(densities) / wanted))
    return int(gaps.argmin()) if len(gaps) and gaps.min() < math.log(1.1) else None


def mean_height(x: np.ndarray, y: np.ndarray) -> float:
    """The trapezoid sum of y over x (both (L,)), over x's length."""
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / (x[-1] - x[0]))


def mean_over_range(densities, values, bounds: tuple[float, float]) -> float:
    """Mean of values (L,) over the logarithm of densities (L,), by trapezoids, from the level near the first
    bound to that near the second. NaN where a level is missing or near neither."""
    first, last = (level_near(densities, bound) for bound in bounds)
    if first is None or last is None or first >= last:
        return NAN
    return mean_height(np.log(densities[first:last + 1]), np.asarray(values[first:last + 1]))


def mean_through(densities, values, points) -> float:
    """Mean of values (L,) over the logarithm of density, by trapezoids through the densities `points` (M,),
    at which values are read off straight lines between levels. NaN where the levels do not reach the ends."""
    x, at = -np.log(densities), -np.log(points)
    if len(x) < 2 or not x[0] <= at[0] < at[-1] <= x[-1]:
        return NAN
    return mean_height(at, np.interp(at, x, values))


def mean_between(densities, values, bounds: tuple[float, float]) -> float:
    """As `mean_over_range`, between two densities themselves, which need not be levels."""
    inner = [density for density in densities if bounds[0] > density > bounds[1]]
    return mean_through(densities, values, [bounds[0], *inner, bounds[1]])


def curve(run: dict, quantity: Callable[[dict], float] = early_test_acc) -> tuple[list[float], list[float]]:
    """A run's densities, and 100 times a quantity of its levels."""
    return list(map(density, run["levels"])), [100 * quantity(level) for level in run["levels"]]


def range_means(runs: list[dict], bounds: tuple[float, ...],
                quantity: Callable[[dict], float] = early_test_acc,
                mean: Callable = mean_over_range) -> dict[int, float]:
    """{seed: 100 times the `mean` of a level's quantity over a range of densities}, of the runs that have it:
    points of an accuracy, hundredths of a nat of a loss."""
    found = {run["config"]["seed"]: mean(*curve(run, quantity), bounds) for run in runs}
    return {seed: value for seed, value in found.items() if np.isfinite(value)}


def within_a_point(densities, values, dense: float) -> float:
    """The smallest density down to which no level is more than 1 point below `dense`, between two levels by
    interpolation over log density; the last density where none is. NaN where the first level is."""
    x, y = np.log(densities), np.asarray(values) - (dense - 1)
    below = np.flatnonzero(~(y >= 0))
    if not len(below):
        return float(densities[-1])
    after = below[0]
    if after == 0:
        return NAN
    share = y[after - 1] / (y[after - 1] - y[after])    # of the way down to the level below
    return float(np.exp(x[after - 1] + share * (x[after] - x[after - 1])))


def paired(values: dict, weights: dict) -> np.ndarray:
    """The weighted sum of {scheme: {seed: value}} in every seed that all schemes of `weights` have: (n,)."""
    seeds = sorted(set.intersection(*(set(values.get(scheme, {})) for scheme in weights)))
    return np.array([sum(weight * values[scheme][seed] for scheme, weight in weights.items())
                     for seed in seeds])


def rank_correlations(measured: Values, outcomes: Values) -> np.ndarray:
    """Spearman's rank correlation over schemes, within each seed that all of them have. A scheme without any
    value takes no part (eps is not defined for random signs), nor a seed in which all values are equal."""
    inits = [init for init in outcomes if outcomes[init] and measured[init]]
    if len(inits) < 3:
        return np.array([])
    seeds = set.intersection(*(outcomes[init].keys() & measured[init].keys() for init in inits))
    pairs = [[[values[init][seed] for init in inits] for values in (measured, outcomes)]
             for seed in sorted(seeds)]
    return np.array([scipy.stats.spearmanr(*pair).statistic for pair in pairs if min(map(np.ptp, pair)) > 0])


def sign_flip_sums(differences: np.ndarray) -> np.ndarray:
    """Sums of differences (n,) under every choice of signs, (2 ** n,), in one order for all of a length,
    their own sum first."""
    sums = np.zeros(1)
    for x in differences:
        sums = np.concatenate([sums + x, sums - x])
    return sums


def tail_share(sums: np.ndarray, own: float) -> float:
    """Share of |sums| that is as large as |own|, but for rounding."""
    return float((np.abs(sums) >= np.abs(own) * (1 - 1e-9) - 1e-12).mean())


def sign_flip(differences: np.ndarray) -> float:
    """Exact two-sided p of a mean of 0, for differences (n,) as likely with either sign."""
    sums = sign_flip_sums(differences)
    return tail_share(sums, sums[0])


def max_t(rows: np.ndarray) -> list[float]:
    """p of each of several rows of differences (k, n) for the largest |t| of all under joint sign flips: the
    chance of any false alarm (Westfall & Young 1993). Flips leave the sum of squares alone."""
    def t(sums, row):
        n, square = len(row), (row ** 2).sum()
        return sums / np.sqrt(np.maximum((square - sums ** 2 / n) / (n - 1), 1e-30) * n)
    values = [np.abs(t(sign_flip_sums(row), row)) for row in rows]
    largest = functools.reduce(np.maximum, values)
    return [tail_share(largest, own[0]) for own in values]


def holm(p: list[float]) -> list[float]:
    """p adjusted by Holm 1979, in their order."""
    order, adjusted, floor = np.argsort(p, kind="stable"), np.empty(len(p)), 0
    for place, index in enumerate(order):
        floor = max(floor, min(1, (len(p) - place) * p[index]))
        adjusted[index] = floor
    return adjusted.tolist()


def equivalence(differences: np.ndarray, margin: float) -> float:
    """p of two one-sided t tests that the mean of differences (n,) is not within +-margin (Schuirmann 1987).
    Without any spread it is 0 or 1."""
    if np.ptp(differences) == 0:
        return float(abs(differences.mean()) >= margin)
    return float(max(scipy.stats.ttest_1samp(differences, end, alternative=side).pvalue
                     for end, side in ((-margin, "greater"), (margin, "less"))))


def family(cases: list[tuple[dict, np.ndarray]], margin: float | None = None) -> list[dict]:
    """Records of (names, differences) that are tested together: estimate, p, Holm's and, of a margin,
    equivalence; no p of fewer than FEWEST pairs."""
    tested = all(len(d) >= FEWEST for _, d in cases)
    raw = [sign_flip(d) if tested else None for _, d in cases]
    return [{**names, "differences": d, "n": len(d), "difference": estimate(d), "p": p, "holm": adjusted,
             **({"margin": margin, "equivalence": equivalence(d, margin) if tested else None}
                if margin else {})}
            for (names, d), p, adjusted in zip(cases, raw, holm(raw) if tested else raw)]


def calibration(values: list[float], repeats: int = 2000) -> float:
    """How often `sign_flip` rejects at 5% where nothing differs: values of one scheme, paired at random."""
    drawn, g = np.array(values), np.random.default_rng(0)
    half = len(drawn) // 2
    draws = (g.permutation(drawn)[:2 * half] for _ in range(repeats))
    return float(np.mean([sign_flip(draw[:half] - draw[half:]) <= 0.05 for draw in draws]))
