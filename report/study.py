"""What the study compares: its networks, groups of runs, seeds, ranges of densities and contrasts."""
import itertools
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from inference import (Estimate, Spread, Values, estimate, level_near, paired, range_means,  # noqa: E402
                       spread)
from stats import STANDARD, early_test_acc, early_val_acc, matrix  # noqa: E402


class Study(NamedTuple):
    """A network with its data: `bounds` are the densities between which accuracy is averaged, `margin` the
    points below which two schemes are equivalent; below `collapsed` % a run counts as collapsed. Nothing is
    shown of it before the schemes `awaited` have all of its seeds."""
    title: str
    group: str
    seeds: range
    bounds: tuple[float, ...]
    margin: float
    collapsed: float
    awaited: tuple[str, ...] = ()

    @property
    def ranges(self) -> list[tuple[float, float]]:
        return list(itertools.pairwise(self.bounds))


FULL, HALF = "mnist-fc-magnitude", "-ratefc0.5-rateout0.28"     # all rounds; half of the weights a round
HALVED = FULL + HALF
EXPLORE, CONFIRM, LATER = range(10), range(10, 30), range(30, 50)   # seeds, by what they are for
DOUBLE = "-rateconv0.19-ratefc0.36-rateout0.19"                 # two of the paper's rounds in one
STUDIES = {
    "mnist": Study("LeNet-300-100, MNIST", FULL, CONFIRM, (1, 0.012, 0.0021), 0.1, 90),
    "fashion": Study("LeNet-300-100, Fashion-MNIST", "fashion_mnist-fc-magnitude" + HALF, range(10, 20),
                     (1, 0.016, 0.0021), 0.1, 70),
    "conv2": Study("Conv-2, CIFAR-10", "cifar10-conv2-magnitude-epochs2-bf16" + DOUBLE, range(31, 39),
                   (1, 0.03, 0.0126), 0.5, 25, (*STANDARD, "shape_sign")),
    "conv2-first": Study("Conv-2, CIFAR-10 (earlier seeds)", "cifar10-conv2-magnitude-epochs2" + DOUBLE,
                         range(10, 13), (1, 0.03), 0.5, 25),
    "conv6": Study("Conv-6, CIFAR-10",
                   "cifar10-conv6-magnitude-epochs2-bf16-rateconv0.2775-ratefc0.36-rateout0.19",
                   range(31, 34), (1, 0.052), 0.5, 25, STANDARD),
    "conv2-gpu": Study("Conv-2, CIFAR-10, 20 rounds", "cifar10-conv2-magnitude-bf16", range(10, 18),
                       (1, 0.03, 0.0126), 0.5, 25),
    "conv6-gpu": Study("Conv-6, CIFAR-10, 20 rounds", "cifar10-conv6-magnitude-bf16", range(10, 18),
                       (1, 0.036, 0.0254), 0.5, 25)}
UNTESTED = ("conv2",)          # studies whose secondary endpoints the protocol does not test
UPPER, SPARSE = (1, 0.016), (0.016, 0.0021)                     # ranges of a halved run
PARTS = ((0.5, 0.016), SPARSE)                                  # of those of the other methods
WHOLE = (0.5, 0.0021)                                           # both of them
SCREEN = 5                                                      # seeds that a scheme is chosen by
TWINS = ("shape_normal", "shape_uniform")                       # the distributions of two standard schemes
HEAVY = ("shape_laplace", "shape_t4")
BY_KURTOSIS = ("shape_sign", "xavier_uniform", "truncated_glorot", "xavier_normal", *HEAVY)
METHODS = {"magnitude, layer by layer": HALVED, "magnitude, global": f"{FULL}-global{HALF}",
           "magnitude, one-shot": f"{FULL}-oneshot{HALF}",
           **{name: f"mnist-fc-{name}{HALF}" for name in ("movement", "filters", "random")},
           "SNIP, layer by layer": f"mnist-fc-snip{HALF}",
           **{f"{name}, global": f"mnist-fc-{name.lower()}-global{HALF}" for name in ("SNIP", "GraSP",
                                                                                      "SynFlow")}}
AT_INITIALIZATION = ("SNIP, global", "SynFlow, global")         # METHODS that the shapes are tested under
SWAPS = [*(("magnitude, layer by layer", other) for other in ("xavier_uniform", "kaiming_normal",
                                                              "xavier_normal@4")),
         *((name, "xavier_uniform") for name in AT_INITIALIZATION)]     # whose masks, against xavier_normal
FILTERS_END = 0.006                     # density of the last but one level of the method `filters`
VARIANTS = {"as it is": HALVED, "signs of w0 alone": f"{FULL}-rewindsigns{HALF}",
            "w0 rescaled to each unit's norm": f"{FULL}-rewindrescaled{HALF}",
            "pruned by movement": f"mnist-fc-movement{HALF}", "pixels in [0, 1]": f"{FULL}-unit{HALF}",
            "12 epochs a level": f"{FULL}-epochs12{HALF}",
            "a third of the learning rate": f"{FULL}-lr0.0004{HALF}",
            "three times the learning rate": f"{FULL}-lr0.0036{HALF}"}
RATES = {"a third": VARIANTS["a third of the learning rate"], "the paper's": HALVED,
         "three times": VARIANTS["three times the learning rate"]}
CONTROL_GROUPS = {"ticket": FULL, "reinit": f"{FULL}-reinit", "shuffle": f"{FULL}-shuffle",
                  "random_mask": f"{FULL}-random_mask", "oneshot": f"{FULL}-oneshot"}
ROUNDS = {"20% a round": FULL, "50% a round": HALVED, "50% a round, global": METHODS["magnitude, global"]}
FACTORS = {  # contrasts of the four schemes, {scheme: weight}
    "variance_scaling": dict(zip(STANDARD, (-0.5, -0.5, 0.5, 0.5))),
    "distribution": dict(zip(STANDARD, (-0.5, 0.5, -0.5, 0.5)))}
CONTRASTS = {**FACTORS, "interaction": dict(zip(STANDARD, (1, -1, -1, 1)))}
PAIRS = {f"{b} - {a}": {a: -1, b: 1} for a, b in itertools.combinations(STANDARD, 2)}
ZEROING = dict(zip(("xavier_normal", "kaiming_normal", "xavier_normal_lit", "kaiming_normal_lit"),
                   (-0.5, -0.5, 0.5, 0.5)))     # with nothing on rare inputs minus plain


def with_seeds(groups: dict, group: str, seeds: range) -> dict[str, list[dict]]:
    """{scheme: runs} of a group, of these seeds."""
    kept = {init: [run for run in runs if run["config"]["seed"] in seeds]
            for init, runs in groups.get(group, {}).items()}
    return {init: runs for init, runs in kept.items() if runs}


exploring = partial(with_seeds, seeds=EXPLORE)      # {scheme: runs} of a group, of the seeds that explore,
choosing = partial(with_seeds, seeds=range(SCREEN))     # of those of them that choose,
confirming = partial(with_seeds, seeds=CONFIRM)     # of those that confirm,
before_training = partial(with_seeds, seeds=range(10, 20))  # of those that are tested under SNIP and SynFlow,
later = partial(with_seeds, seeds=LATER)            # and of those that rarely active pixels are tested on


def studies(groups: dict) -> Iterator[tuple[str, Study, dict[str, list[dict]]]]:
    """(name, study, its schemes' runs of its seeds) of what has been run."""
    for name, study in STUDIES.items():
        schemes = with_seeds(groups, study.group, study.seeds)
        ends = (study.bounds[0], study.bounds[-1])
        counts = [len(range_means(schemes.get(init, []), ends)) for init in study.awaited]
        if schemes.keys() & set(STANDARD) and min(counts, default=len(study.seeds)) == len(study.seeds):
            yield name, study, schemes


def by_scheme(schemes: dict, bounds: tuple[float, float], quantity: Callable = early_test_acc) -> Values:
    """{scheme: {seed: mean over a range of densities}}, as `range_means`."""
    return {init: range_means(runs, bounds, quantity) for init, runs in schemes.items()}


def under(groups: dict, method: str, bounds: tuple[float, float] = WHOLE, choose: Callable = exploring,
          quantity: Callable = early_test_acc) -> Values:
    """As `by_scheme`, of the runs under a row of METHODS; that of `filters` ends before the last level."""
    low = max(bounds[1], FILTERS_END) if method == "filters" else bounds[1]
    return by_scheme(choose(groups, METHODS[method]), (bounds[0], low), quantity)


def at_density(runs: list[dict], wanted: float, quantity: Callable = early_test_acc,
               scale: float = 100) -> dict[int, float]:
    """{seed: scale * quantity} at the level nearest to a density, of the runs that have one near it."""
    densities, values = matrix(runs, quantity) if runs else ((), None)
    level = level_near(densities, wanted)
    found = {} if level is None else dict(zip((run["config"]["seed"] for run in runs),
                                              scale * values[:, level]))
    return {seed: value for seed, value in found.items() if np.isfinite(value)}


def accuracies(schemes: dict, wanted: float) -> Values:
    """{scheme: {seed: test accuracy (%)}} at the level nearest to a density."""
    return {init: at_density(runs, wanted) for init, runs in schemes.items()}


def at_ends(schemes: dict, bounds: tuple[float, float]) -> dict[str, Values]:
    """Accuracies of the unpruned networks, at the last level of a range, and the latter minus the former."""
    unpruned, last = accuracies(schemes, 1), accuracies(schemes, bounds[1])
    return {"unpruned": unpruned, "last": last, "change": minus(last, unpruned)}


def density_near(schemes: dict, wanted: float) -> float:
    """The density of the schemes' level nearest to a density."""
    densities, _ = matrix(sum(schemes.values(), []), early_test_acc)
    return float(densities[level_near(densities, wanted)])


def minus(values: Values, base: Values) -> Values:
    """{scheme: {seed: value minus that of `base`}}, of the seeds that both have."""
    return {init: {seed: value - base[init][seed] for seed, value in found.items() if seed in base[init]}
            for init, found in values.items()}


def four_spreads(values: Values) -> dict[str, Spread | None]:
    """{scheme: mean and sd} of the four schemes."""
    return {init: spread(values.get(init, {}).values()) for init in STANDARD}


def factors(values: Values) -> dict[str, Estimate | None]:
    """{contrast: estimate} of the two factors."""
    return {name: estimate(paired(values, weights)) for name, weights in FACTORS.items()}


def seed_counts(values: dict) -> list[int]:
    """How many seeds or runs there are of each of the four schemes."""
    return [len(values.get(init, ())) for init in STANDARD]


def mean_of_four(values: Values) -> float | None:
    """The mean over those of the four schemes that have been run."""
    means = [np.mean(list(values[init].values())) for init in STANDARD if values.get(init)]
    return float(np.mean(means)) if means else None


def screen_scores(groups: dict, group: str = HALVED) -> Values:
    """{scheme: {seed: score}} of the screen: the mean of validation accuracy over 100 to 0.2%."""
    return by_scheme(choosing(groups, group), (1, SPARSE[1]), early_val_acc)


def eligible(init: str) -> bool:
    """Whether the protocol's rule may choose a scheme: not a standard one or its twin, nor one without
    weights on rarely active pixels."""
    return init not in (*STANDARD, *TWINS) and not init.endswith("_lit")


def candidates(groups: dict) -> tuple[list[str], str | None]:
    """(two custom schemes, the best standard one) by the protocol's rule, of those with all seeds of the
    screen."""
    scores = {init: np.mean(list(found.values())) for init, found in screen_scores(groups).items()
              if len(found) >= SCREEN}
    order = sorted(scores, key=lambda init: -scores[init])
    return (list(filter(eligible, order))[:2], next((init for init in order if init in STANDARD), None))
