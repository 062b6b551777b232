"""The tables that look for reasons: what survives, and what changes when one thing is changed."""
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import formatting  # noqa: E402
from formatting import CONTRAST_LABELS, FOUR, NAMED, Table, span  # noqa: E402
from inference import (Values, correlation, curve, equivalence, estimate, level_near,  # noqa: E402
                       mean_between, mean_through, paired, range_means, rank_correlations, sign_flip,
                       spread)
from inits import RARE  # noqa: E402
from stats import STANDARD, density, diagnostic, early_test_acc  # noqa: E402
from study import (AT_INITIALIZATION, BY_KURTOSIS, CONTRASTS, CONTROL_GROUPS, FACTORS, FULL,  # noqa: E402
                   HALF, HALVED, HERE, METHODS, PARTS, ROUNDS, SCREEN, SPARSE, STUDIES, SWAPS, UPPER,
                   VARIANTS, ZEROING, Study, accuracies, at_density, by_scheme, candidates, confirming,
                   density_near, exploring, factors, four_spreads, later, minus, studies, with_seeds)

PIXELS = HERE / "pixels.json"           # in how many training images a pixel is active
INFLUENCE = ("eps", "auroc", "rho")     # of the initial magnitude on survival: diagnostics of a layer
INFLUENCE_AT = 0.066                    # the level near it: 7.0, 6.9 or 6.3%
ROUNDS_THROUGH = (0.0119, 0.00816, 0.00416, 0.00215)    # levels of rounds of 50%, the ends rounded inwards

TABLES: dict[str, Table] = {}
table = partial(formatting.table, TABLES)


def diagnosed(runs: list[dict], wanted: float) -> list[dict]:
    """The levels near a density that have diagnostics."""
    return [level for run in runs for level in run["levels"]
            if level_near([density(level)], wanted) is not None and level.get("diagnostics")]


@table("method scheme accuracy pixels units n", "method scheme")
def used(groups: dict) -> list[dict]:
    """Networks of 0.82% of the weights by the distribution of their initial weights, from light to heavy
    tails: test accuracy (%), how many of 784 pixels and of 300 units of the first layer have a weight left,
    mean (sd). Exploratory."""
    units_without_inputs = diagnostic("layers", "fc1", "no_way_in")
    records = []
    for name in (*AT_INITIALIZATION, "magnitude, layer by layer"):
        schemes = exploring(groups, METHODS[name])
        for init in filter(schemes.get, BY_KURTOSIS):
            levels = diagnosed(schemes[init], 0.0082)
            if levels:
                records.append({"method": name, "scheme": init, "n": len(levels),
                                "accuracy": spread(100 * early_test_acc(level) for level in levels),
                                "pixels": spread(np.count_nonzero(level["inputs"]) for level in levels),
                                "units": spread(300 - units_without_inputs(level) for level in levels)})
    return records


@table("scheme * n")
def shares(groups: dict) -> list[dict]:
    """Global magnitude: the share (%) of each layer's weights that remains when 6.3, 1.6 and 0.21% of
    all do, mean (sd). Exploratory."""
    schemes = exploring(groups, METHODS["magnitude, global"])
    layers = next((runs[0]["levels"][0]["size"] for runs in schemes.values()), ())
    records = []
    for init, runs in schemes.items():
        record = {"scheme": init, "n": len(runs)}
        for layer, percent in itertools.product(layers, (6.3, 1.6, 0.21)):
            found = at_density(runs, percent / 100, lambda level: level["kept"][layer] / level["size"][layer])
            record[f"{layer} at {percent}%"] = spread(found.values())
        records.append(record)
    return records


@table("method schemes accuracy linked starved n", linked="on a path",
       starved="a class without weights", n="runs")
def paths(groups: dict) -> list[dict]:
    """Networks of 0.21% of the weights, of the four schemes and the candidate schemes, random signs apart:
    test accuracy (%) and the share (%) of the remaining weights on some path from an input to an output, mean
    (sd over runs); runs in which a class has no weight left. Exploratory."""
    customs, records = candidates(groups)[0], []
    kinds = {"the others": [*STANDARD, *(init for init in customs if init != "shape_sign")],
             "shape_sign": [init for init in customs if init == "shape_sign"]}
    for (name, group), (kind, inits) in itertools.product(METHODS.items(), kinds.items()):
        schemes = exploring(groups, group)
        levels = [level for init in inits for level in diagnosed(schemes.get(init, []), SPARSE[1])]
        if len(levels) > 2:
            linked = (100 * level["diagnostics"]["effective_density"] / density(level) for level in levels)
            records.append({"method": name, "schemes": kind, "linked": spread(linked), "n": len(levels),
                            "accuracy": spread(100 * early_test_acc(level) for level in levels),
                            "starved": sum(level["diagnostics"]["least_class_inputs"] == 0
                                           for level in levels)})
    return records


@table(f"variant range {FOUR} variance_scaling distribution change n", "variant range",
       variant="what is changed", change="change of the mean")
def why(groups: dict) -> list[dict]:
    """One thing changed at a time, MNIST, half of the weights per round: mean test accuracy over log density,
    mean (sd); the two contrasts, and the mean of the four schemes minus that of the first rows, in points
    [95%]. Exploratory."""
    records = []
    for (name, group), bounds in itertools.product(VARIANTS.items(), (UPPER, SPARSE)):
        changed, plain = (by_scheme(exploring(groups, which), bounds) for which in (group, HALVED))
        both = {(way, init): values.get(init, {}) for way, values in enumerate((plain, changed))
                for init in STANDARD}
        change = estimate(paired(both, {(way, init): (way - 0.5) / 2 for way, init in both}))
        two = factors(changed)
        if two["variance_scaling"]:
            records.append({"variant": name, "range": bounds, **four_spreads(changed), **two,
                            "change": 0 if group == HALVED else change, "n": two["variance_scaling"].n})
    return records


@table("method other range plain masks_given_a masks_given_b values_given_a values_given_b n",
       "method other range", method="masks by", other="B", plain="masks A, values A",
       masks_given_a="masks B − A, values A", masks_given_b="masks B − A, values B",
       values_given_a="values B − A, masks A", values_given_b="values B − A, masks B")
def swaps(groups: dict) -> list[dict]:
    """Masks of one scheme with the initial values of another, A being Xavier normal: mean test accuracy over
    log density, mean (sd), and its differences in points [95%]. Exploratory."""
    records = []
    for (name, other), bounds in itertools.product(SWAPS, (UPPER, SPARSE)):
        crossed = {}
        for masks, values in itertools.product("AB", repeat=2):
            of = {"A": "xavier_normal", "B": other}
            group = METHODS[name]
            if masks != values:
                donor = group.replace("mnist-fc-", f"mnist-fc-{of[masks]}-", 1)
                group = f"{FULL}-from-{donor}{HALF}"
            crossed[masks + values] = range_means(exploring(groups, group).get(of[values], []), bounds)
        if all(crossed.values()):
            weights = {"masks_given_a": {"BA": 1, "AA": -1}, "masks_given_b": {"BB": 1, "AB": -1},
                       "values_given_a": {"AB": 1, "AA": -1}, "values_given_b": {"BB": 1, "BA": -1}}
            found = {what: estimate(paired(crossed, own)) for what, own in weights.items()}
            records.append({"method": name, "other": other, "range": bounds, **found,
                            "plain": spread(crossed["AA"].values()),
                            "n": [each.n if each else 0 for each in found.values()]})
    return records


@table(names="control density")
def control_gaps(groups: dict) -> list[dict]:
    """The ticket minus its controls, paired by seed."""
    runs = {name: exploring(groups, group).get("xavier_normal", []) for name, group in CONTROL_GROUPS.items()}
    records = []
    for name, wanted in itertools.product(list(CONTROL_GROUPS)[1:], (0.07, 0.036)):
        d = paired({which: at_density(runs[which], wanted) for which in ("ticket", name)},
                   {"ticket": 1, name: -1})
        if len(d) > 1:
            records.append({"control": name, "density": wanted, "difference": estimate(d), "n": len(d)})
    return records


@table("method control upper sparse n", "method control", method="masks by", control="in place of the ticket",
       upper=f"{span(PARTS[0])}, points [95%]", sparse=f"{span(SPARSE)}, points [95%]")
def controls_at_initialization(groups: dict) -> list[dict]:
    """Masks made at initialization, Xavier normal: networks with a new draw of the weights, or with the mask
    shuffled within each layer, minus the network that the mask was made for. Mean test accuracy over log
    density, paired by seed. Exploratory."""
    records = []
    for name, control in itertools.product(AT_INITIALIZATION, ("reinit", "shuffle")):
        pair, found = {METHODS[name]: -1, METHODS[name].replace(HALF, f"-{control}{HALF}"): 1}, {}
        for bounds in PARTS:
            values = {group: range_means(exploring(groups, group).get("xavier_normal", []), bounds)
                      for group in pair}
            found[bounds] = paired(values, pair)
        if min(map(len, found.values())) > 1:
            upper, sparse = map(estimate, found.values())
            records.append({"method": name, "control": control, "upper": upper, "sparse": sparse,
                            "n": sparse.n})
    return records


@table("what difference last n", "what", what="the first − the second",
       difference=f"mean accuracy {span((ROUNDS_THROUGH[0], ROUNDS_THROUGH[-1]))}", last="accuracy at 0.21%")
def rounds(groups: dict) -> list[dict]:
    """How much the pruning procedure matters beside the scheme: Xavier normal pruned by 20 or 50% a round,
    layer by layer or globally, and the contrasts of the four schemes at 20% a round, on the same ten seeds.
    Points of test accuracy on MNIST, paired by seed, with 95% t intervals. All mean
    accuracies use the same densities, 1.19, 0.82, 0.42 and 0.21%, so that the number of levels hardly
    matters; at 1.19% rounds of 50% are interpolated. Exploratory."""
    means, last = {}, {}
    for name, group in ROUNDS.items():
        for init, runs in with_seeds(groups, group, range(10, 20)).items():
            means[name, init] = range_means(runs, ROUNDS_THROUGH, mean=mean_through)
            last[name, init] = at_density(runs, SPARSE[1])
    slow, fast, overall = ((name, "xavier_normal") for name in ROUNDS)
    cases = {"20% − 50% a round": {slow: 1, fast: -1},
             "global − layer by layer, 50% a round": {overall: 1, fast: -1},
             **{f"{CONTRAST_LABELS[contrast]}, 20% a round": {
                 (slow[0], init): weight for init, weight in weights.items()}
                for contrast, weights in FACTORS.items()}}
    return [{"what": what, "difference": estimate(d), "last": estimate(paired(last, weights)), "n": len(d)}
            for what, weights in cases.items() if len(d := paired(means, weights)) > 1]


SURVIVAL = {"eps": (("layers", "fc1", "eps"), 1), "auroc": (("layers", "fc1", "auroc"), 1),
            "rho": (("layers", "fc1", "rho"), 1), "constant_inputs": (("dark_share",), 100)}


@table(f"study quantity density {FOUR} difference n", quantity="what",
       difference="uniform − normal [95%]")
def survival(groups: dict) -> list[dict]:
    """What survives in the first fully connected layer, at single densities: mean (sd over seeds), and the
    contrast uniform − normal, by seed. Constant pixels are black in every training image. Exploratory."""
    records = []
    for name, _, schemes in studies(groups):
        for (quantity, (keys, scale)), wanted in itertools.product(SURVIVAL.items(), (
                0.21, 0.07, 0.012, 0.0021)):
            found = {init: at_density(schemes.get(init, []), wanted, diagnostic(*keys), scale)
                     for init in STANDARD}
            if any(found.values()):
                d = paired(found, CONTRASTS["distribution"])
                records.append({"study": name, "quantity": quantity, "n": len(d),
                                "density": density_near(schemes, wanted),
                                **four_spreads(found), "difference": estimate(d)})
    return records


def many_schemes(groups: dict) -> Iterator[tuple[str, dict, list]]:
    """(name, schemes, ranges) of the screen, as far as it is whole, and of every study."""
    whole = {init: runs for init, runs in exploring(groups, HALVED).items() if len(runs) >= SCREEN}
    if whole:
        yield "screen", whole, [UPPER, SPARSE]
    for name, study, schemes in studies(groups):
        yield name, schemes, study.ranges


def influence_of(schemes: dict, key: str, wanted: float = INFLUENCE_AT) -> Values:
    """{scheme: {seed: a diagnostic of the first fully connected layer at a density}}"""
    quantity = diagnostic("layers", "fc1", key)
    return {init: at_density(runs, wanted, quantity, 1) for init, runs in schemes.items()}


@table("study outcome range density schemes eps auroc rho n", "study outcome range density",
       outcome="mean accuracy", density="measured near %", eps="with eps", auroc="with AUROC",
       rho="with the RMS ratio")
def influence(groups: dict) -> list[dict]:
    """Is accuracy lower where the initial magnitude has more influence on what survives? Rank correlation
    (Spearman's), over the schemes of a seed, of mean test accuracy with each measure in the first fully
    connected layer: mean over seeds (least to largest). -1: one order is the reverse of the other. Schemes
    with a gain are left out. eps is not defined of random signs, which are left out there, and
    their AUROC is 0.5 by definition. Exploratory."""
    records = []
    for name, schemes, ranges in many_schemes(groups):
        schemes = {init: runs for init, runs in schemes.items() if "@" not in init}
        unpruned = accuracies(schemes, 1)
        for bounds in ranges:
            means = by_scheme(schemes, bounds)
            for wanted in [at for at in (INFLUENCE_AT, bounds[0]) if at < 1]:
                measured = {key: influence_of(schemes, key, wanted) for key in INFLUENCE}
                for outcome, values in {"mean": means, "minus unpruned": minus(means, unpruned)}.items():
                    correlations = {key: rank_correlations(own, values) for key, own in measured.items()}
                    if min(map(len, correlations.values())) > 1:
                        records.append({"study": name, "outcome": outcome, "range": bounds, "density": wanted,
                                        "schemes": len(schemes), "n": [*map(len, correlations.values())],
                                        **{key: correlation(own) for key, own in correlations.items()}})
    return records


def count_on(level: dict, inputs: np.ndarray) -> float:
    """How many first-layer weights of a level are on inputs where `inputs` (inputs,) is true; NaN for a level
    of other inputs."""
    counts = np.array(level["inputs"])
    return counts[inputs].sum() if counts.shape == inputs.shape else np.nan


def density_on(inputs: np.ndarray) -> Callable[[dict], float]:
    """As `density`, of the first layer only the weights on inputs where `inputs` (inputs,) is true."""
    return lambda level: density(level) - count_on(level, ~inputs) / sum(level["size"].values())


def share_on(inputs: np.ndarray) -> Callable[[dict], float]:
    """The share of a level's first-layer weights that is on inputs where `inputs` (inputs,) is true."""
    return lambda level: count_on(level, inputs) / count_on(level, np.ones_like(inputs))


def means_by_share(runs: list[dict], bounds: tuple[float, float], share: Callable) -> dict[int, float]:
    """{seed: mean of test accuracy over the log of `share` of a level}, between the levels at `bounds`."""
    means = {}
    for run in runs:
        densities, values = curve(run)
        ends = [level_near(densities, bound) for bound in bounds]
        if None not in ends:
            means[run["config"]["seed"]] = mean_between(
                list(map(share, run["levels"])), values, tuple(densities[end] for end in ends))
    return {seed: value for seed, value in means.items() if np.isfinite(value)}


def active_images(study: Study) -> tuple[np.ndarray, int] | None:
    """In how many training images a pixel of the study's data is active, and of how many, where known."""
    found = json.loads(PIXELS.read_text()).get(study.group.split("-")[0])
    return found and (np.array(found["lit"]), found["images"])


@table(names="study")
def pixels(groups: dict) -> list[dict]:
    """How many pixels the data have, and how many of them are rarely active."""
    found = {name: active_images(study) for name, study, _ in studies(groups)}
    return [{"study": name, "all": len(own[0]), "rare": int((own[0] < RARE * own[1]).sum())}
            for name, own in found.items() if own]


@table(f"{NAMED} inputs n difference p equivalence", inputs="counted")
def without_rare_inputs(groups: dict) -> list[dict]:
    """The contrasts at extreme sparsity if only some of the first layer's weights count as remaining: schemes
    are compared at equal numbers of counted weights, in points [95%]. Pixels by the share of training images
    in which they are active. No correction. Exploratory: not planned in the protocol."""
    records = []
    for name, study, schemes in studies(groups):
        for bounds in study.ranges[1:] if active_images(study) else ():
            active, images = active_images(study)
            least = {"all": 0, "not constant": 1, "not below 0.1%": RARE * images,
                     "not below 1%": 10 * RARE * images}
            means = {inputs: {init: means_by_share(runs, bounds, density_on(active >= number))
                              for init, runs in schemes.items()} for inputs, number in least.items()}
            for (contrast, weights), inputs in itertools.product(FACTORS.items(), means):
                d = paired(means[inputs], weights)
                if len(paired(means["all"], weights)) > 1:
                    records.append({"study": name, "contrast": contrast, "range": bounds, "inputs": inputs,
                                    "differences": d, "n": len(d), "difference": estimate(d),
                                    "p": sign_flip(d), "equivalence": equivalence(d, study.margin),
                                    "margin": study.margin})
    return records


@table("effect where plain zero n difference p equivalence", "effect", effect="what", where="densities",
       zero="nothing there", difference="the second − the first [95%]")
def zeroing(groups: dict) -> list[dict]:
    """Normal schemes with nothing on rarely active pixels at the start against the plain ones, mean (sd) of
    Xavier's and Kaiming's, on seeds that no scheme had been run on. The test is that of the lower range at 20
    seeds; the other rows are exploratory."""
    study, records = STUDIES["mnist"], []
    active, images = active_images(study)
    rare, schemes, (upper, sparse) = active < RARE * images, later(groups, study.group), study.ranges
    cases = {"upper": (upper, by_scheme(schemes, upper)), "test": (sparse, by_scheme(schemes, sparse)),
             "other inputs": (sparse, {init: means_by_share(runs, sparse, density_on(~rare))
                                       for init, runs in schemes.items()}),
             "survivors": (f"at {100 * sparse[0]:g}%", {
                 init: at_density(runs, sparse[0], share_on(rare)) for init, runs in schemes.items()})}
    for effect, (where, values) in cases.items():
        d, inits = paired(values, ZEROING), list(ZEROING)
        if len(d) > 1:
            plain, zero = (spread(paired(values, dict.fromkeys(two, 0.5))) for two in (inits[:2], inits[2:]))
            records.append({"effect": effect, "where": where, "plain": plain, "zero": zero, "n": len(d),
                            "difference": estimate(d),
                            "p": sign_flip(d), "margin": study.margin, "equivalence":
                                None if effect == "survivors" else equivalence(d, study.margin)})
    return records


@table(names="variant scheme")
def constant_inputs(groups: dict) -> list[dict]:
    """The share (%) of first-layer survivors on constant pixels at 6.3%, when one thing is changed."""
    return [{"variant": variant, "scheme": init, "mean": spread(values.values())}
            for variant, group in VARIANTS.items() for init, runs in exploring(groups, group).items()
            if (values := at_density(runs, 0.0625, diagnostic("dark_share")))]


@table(names="what")
def remaining(groups: dict) -> list[dict]:
    """How many weights remain in a network of 0.21% on MNIST, over the runs of the four schemes, and how many
    biases: a bias counts if its unit has a weight to the next layer, as those of the output do."""
    runs = sum((confirming(groups, FULL).get(init, []) for init in STANDARD), [])
    levels = diagnosed(runs, SPARSE[1])
    without = [diagnostic("layers", layer, "no_way_out") for layer in ("fc1", "fc2")]
    biases = [410 - sum(quantity(level) for quantity in without) for level in levels]
    weights = [sum(level["kept"].values()) for level in levels]
    return [{"what": what, "mean": spread(values)} for what, values in (("weights", weights),
                                                                       ("biases", biases)) if values]


@table(names="range")
def pairing(groups: dict) -> list[dict]:
    """How much of a seed's luck its schemes share on MNIST: the least and the largest correlation over seeds
    of the mean accuracies of two of the four schemes."""
    schemes, records = confirming(groups, FULL), []
    for bounds in STUDIES["mnist"].ranges:
        values = by_scheme({init: schemes.get(init, []) for init in STANDARD}, bounds)
        seeds = sorted(set.intersection(*(set(own) for own in values.values())))
        if len(seeds) > 2:
            table = np.corrcoef([[own[seed] for seed in seeds] for own in values.values()])
            found = table[np.triu_indices(len(table), 1)]
            records.append({"range": bounds, "least": float(found.min()), "largest": float(found.max())})
    return records


@table(names="range")
def replicated(groups: dict) -> list[dict]:
    """Kaiming normal minus Xavier normal on MNIST, on the plain schemes' seeds of the test of pixels, which
    the comparison of the schemes does not have."""
    schemes, records = later(groups, FULL), []
    for bounds in STUDIES["mnist"].ranges:
        d = paired(by_scheme(schemes, bounds), {"kaiming_normal": 1, "xavier_normal": -1})
        if len(d) > 1:
            records.append({"range": bounds, "difference": estimate(d), "p": sign_flip(d), "n": len(d)})
    return records
