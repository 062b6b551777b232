"""Made-up runs with known answers, and runs of random numbers with plain loops over them."""
import functools
import itertools
import math

import numpy as np

import stats
from stats import STANDARD
from study import (AT_INITIALIZATION, FULL, HALF, HALVED, METHODS, PARTS, RATES, SPARSE, STUDIES, SWAPS,
                   UPPER, VARIANTS, WHOLE)

SIZES = {"fc1": 235200, "fc2": 30000, "out": 1000}
FULL_RATES, HALF_RATES, DOUBLES = (0.2, 0.1), (0.5, 0.28), (0.36, 0.19)     # of hidden layers and output
HALVES = {"rates": HALF_RATES, "levels": 10, "group": HALVED}


def made(init, seed, accuracy, validation=0.0, group=FULL, levels=29, rates=FULL_RATES):
    """A run of fc: test and validation accuracy in % at early stop, one for all levels or one a level, None
    for a level without a finite loss. Early stop is the second of three evaluations; the last is a point
    lower."""
    def each(values):
        return values if isinstance(values, list) else [values] * levels
    found = []
    for number, (test, val) in enumerate(zip(each(accuracy), each(validation))):
        kept = {name: round(n * (1 - rates[name == "out"]) ** number) for name, n in SIZES.items()}
        lost = test is None
        found.append({"level": number, "kept": kept, "size": SIZES, "step": [10, 20, 30], "diverged": lost,
                      "val_loss": [None] * 3 if lost else [0.3, 0.1, 0.2],
                      "test_acc": [None] * 3 if lost else [0.0, test / 100, test / 100 - 0.01],
                      "train_loss": [0.5, 0.4, 0.3], "val_acc": [0.0, val / 100, 0.0], "inputs": []})
    data, net, rest = group.split("-", 2)
    config = {"data": data, "net": net, "init": init, "pruner": rest.split("-")[0], "seed": seed,
              "lr": 0.0012, "batch": 60, "epochs": 5, "rate_fc": rates[0], "rate_out": rates[1]}
    return {"config": config, "provenance": [{"level": 0, "commit": "a"}], "init": {}, "levels": found,
            "name": f"{data}-{net}-{init}-{rest}-s{seed}"}


def densities(levels, rates=FULL_RATES):
    return [stats.density(level) for level in made("zero", 0, 0.0, levels=levels, rates=rates)["levels"]]


def standards(n, scale=0.3, shape=0.1, wiggle=1.0, first=10, **settings):
    """Runs of the four schemes, n seeds: effects as said plus wiggles of mean 0, large between seeds; the
    interaction is a wiggle alone. Seeds before `first` are far off."""
    steps = np.linspace(-1, 1, n)
    e, f, g = (wiggle * size * np.roll(steps, roll) for size, roll in ((0.05, 0), (0.03, 1), (0.02, 2)))
    runs = [made(init, seed, 50.0 + 9 * number, **settings)
            for number, init in enumerate(STANDARD) for seed in range(max(first - 7, 0), first)]
    for i, init in itertools.product(range(n), STANDARD):
        kaiming, uniform = "kaiming" in init, "uniform" in init
        points = kaiming * (scale + e[i]) + uniform * (shape + f[i]) + kaiming * uniform * g[i]
        runs.append(made(init, first + i, 96 + math.sin(i) + points, **settings))
    return runs


def record(records, **names):
    """The one record with these values."""
    found, = (row for row in records if all(row[key] == value for key, value in names.items()))
    return found


CUSTOM = ("shape_sign", "truncated_glorot", "shape_laplace", "shape_t4", "xavier_normal@4",
          "xavier_normal@0.5")
INITS = (*STANDARD, *CUSTOM)
FULL_PARTS = {(1, 0.012): (0, 20), (0.012, 0.0021): (20, 28)}       # first and last level of a range
HALF_PARTS = {UPPER: (0, 6), SPARSE: (6, 9), PARTS[0]: (1, 6), WHOLE: (1, 9)}
FACTORS = {"variance_scaling": dict(zip(STANDARD, (-0.5, -0.5, 0.5, 0.5))),
           "distribution": dict(zip(STANDARD, (-0.5, 0.5, -0.5, 0.5)))}
EXPLORING, CONFIRMING = range(5), range(10, 17)


def swapped(masks, method):
    """The group of runs with the masks of another scheme's."""
    return f"{FULL}-from-{METHODS[method].replace('mnist-fc-', f'mnist-fc-{masks}-', 1)}{HALF}"


@functools.cache
def random_groups():
    """Random accuracies and losses; some seeds lack a scheme, and groups have seeds that do not count. Of
    them the candidates are Student's t and random signs, and the heavy-tailed scheme is Student's t."""
    noise, found = np.random.default_rng(320), []
    halves = [*METHODS.values(), *VARIANTS.values(), *RATES.values(), STUDIES["fashion"].group, *(
        swapped(masks, method) for method, other in SWAPS for masks in ("xavier_normal", other)), *(
        METHODS[name].replace(HALF, f"-{control}{HALF}") for name in AT_INITIALIZATION
        for control in ("reinit", "shuffle"))]
    plans = [(FULL, range(8, 17), 29, FULL_RATES), (STUDIES["conv2-first"].group, range(9, 14), 9, DOUBLES),
             (STUDIES["conv2"].group, range(30, 40), 11, DOUBLES),
             *((group, [*EXPLORING, *CONFIRMING], 10, HALF_RATES) for group in dict.fromkeys(halves))]
    for group, seeds, levels, rates in plans:
        for init, seed in itertools.product(INITS, seeds):
            test, val = (noise.uniform(90, 98, levels).tolist() for _ in range(2))
            run = made(init, seed, test, val, group=group, levels=levels, rates=rates)
            for level in run["levels"]:
                level["train_loss"][1], level["val_loss"][1] = noise.uniform(0, 0.1, 2)
                level["test_acc"][2] = level["val_acc"][1]
                level["inputs"] = [*noise.integers(2, size=9).tolist()[:8], 1]      # never all 0
                level["diagnostics"] = {} if seed == 4 else {
                    "layers": {"fc1": {"no_way_in": int(noise.integers(99)), "rho": noise.random(),
                                       "eps": None if init == "shape_sign" else noise.random(),
                                       "auroc": noise.integers(3) / 2}},
                    "least_class_inputs": int(noise.integers(2)), **dict(zip(
                        ("effective_density", "dark_share", "logit_std"), noise.random(3)))}
            if group == HALVED or (init, seed) not in (("kaiming_uniform", 12), ("xavier_uniform", 3)):
                found.append(run)
    return stats.groups(found)


def accuracy(level):
    return 100 * level["test_acc"][1]


def at(number, of=accuracy):
    """A run's value at a level."""
    return lambda run: of(run["levels"][number])


def over(first, last, of=accuracy):
    """The mean of a run's values over the logarithm of its densities, by trapezoids, between two levels."""
    def mean(run):
        part = run["levels"][first:last + 1]
        x = [math.log(sum(level["kept"].values())) for level in part]
        y = [of(level) for level in part]
        return sum((x[i] - x[i + 1]) * (y[i] + y[i + 1]) / 2 for i in range(len(x) - 1)) / (x[0] - x[-1])
    return mean


def across(weights, seeds, value):
    """Weighted sums of a run's value within each seed that all of {(group, scheme): weight} have."""
    its = {(group, init): {run["config"]["seed"]: run for run in random_groups()[group][init]}
           for group, init in weights}
    return [sum(weight * value(its[key][seed]) for key, weight in weights.items())
            for seed in seeds if all(seed in own for own in its.values())]


def plain(group, weights, seeds, value):
    return across({(group, init): weight for init, weight in weights.items()}, seeds, value)
