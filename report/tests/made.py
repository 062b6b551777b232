"""Made-up runs with known answers."""
import itertools
import math

import numpy as np

import stats
from study import FULL, HALVED

SIZES = {"fc1": 235200, "fc2": 30000, "out": 1000}
FULL_RATES, HALF_RATES = (0.2, 0.1), (0.5, 0.28)    # of fc's hidden layers and of its output, a round
HALVES = {"rates": HALF_RATES, "levels": 10, "group": HALVED}
SCORES = {"xavier_normal": 97.0, "xavier_uniform": 97.5, "kaiming_normal": 96.0, "kaiming_uniform": 97.25,
          "shape_normal": 99.0, "shape_uniform": 99.5, "orthogonal": 98.0, "xavier_normal@0.5": 98.5,
          "shape_sign": 97.75, "xavier_normal_lit": 99.75, "sparse_90": 90.0}   # _lit is not eligible


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
    config = {"data": data, "net": net, "init": init, "pruner": rest.split("-")[0], "seed": seed}
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
            for number, init in enumerate(stats.STANDARD) for seed in range(max(first - 7, 0), first)]
    for i, init in itertools.product(range(n), stats.STANDARD):
        kaiming, uniform = "kaiming" in init, "uniform" in init
        points = kaiming * (scale + e[i]) + uniform * (shape + f[i]) + kaiming * uniform * g[i]
        runs.append(made(init, first + i, 96 + math.sin(i) + points, **settings))
    return runs


def screening(seeds=(0, 1, 2, 3, 4), scores=SCORES, late=None):
    """A screen with these validation scores; on test images, and in seeds from 10 on, sparse_90 is best."""
    runs = []
    for number, (init, score) in enumerate(scores.items()):
        for seed in seeds:
            runs.append(made(init, seed, 99.9 if init == "sparse_90" else 80.0 + number,
                             score + 0.25 * (seed - np.mean(seeds)), **HALVES))
        for seed in late or ():
            best = init in ("sparse_90", "kaiming_normal")
            runs.append(made(init, seed, 30.0, 100.0 if best else 10.0, **HALVES))
    return runs


def final(customs, standard, missing=()):
    """Runs of the candidates and the best standard scheme on fresh seeds, and the screen that chose them."""
    noise, runs = np.random.default_rng(21), screening()
    for init, shift in {**customs, standard: 0.0}.items():
        for seed in range(10, 18):
            upper, sparse = 97 + shift + noise.normal(0, 0.3, 2)
            if (init, seed) not in missing:
                runs.append(made(init, seed, [upper] * 21 + [sparse] * 8))
    return runs


def influencing(seeds=range(5), group=HALVED, levels=10, rates=HALF_RATES):
    """Runs of six schemes whose diagnostics of fc1 and accuracies are noise, with ties; signs have no eps."""
    noise, runs = np.random.default_rng(5), []
    for place, init in enumerate((*stats.STANDARD, "shape_sign", "orthogonal")):
        for seed in seeds:
            accuracy = [90.0 + noise.integers(4) for _ in range(levels)]
            run = made(init, seed, accuracy, group=group, levels=levels, rates=rates)
            for level in run["levels"]:
                row = {"auroc": noise.integers(3) / 2, "rho": noise.random(), "eps": place + noise.random()}
                level["diagnostics"] = {"layers": {"fc1": row | ({"eps": None} if place == 4 else {})}}
            runs.append(run)
    return runs


def of_seeds(runs, first=10):
    """{scheme: its runs of seeds from `first` on}, of the four schemes."""
    return {init: [run for run in runs if run["config"]["init"] == init and run["config"]["seed"] >= first]
            for init in stats.STANDARD}


def record(records, **names):
    """The one record with these values."""
    found, = (row for row in records if all(row[key] == value for key, value in names.items()))
    return found
