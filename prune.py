"""Pruning: train, score the weights, mask the smallest, rewind the rest, again.

    python prune.py --net conv --init kaiming_uniform --seed 2
    python prune.py --net fc --init xavier_normal kaiming_normal --seed 0 1 2
    python prune.py --net fc --pruner synflow --scope global
    python prune.py --net fc --control reinit

Before every level the survivors are reset to their own initial values, or to those of step K (--rewind K):
Frankle & Carbin 2019 (arXiv 1803.03635), Frankle et al. 2020 (arXiv 1912.05671).
"""
import argparse
import sys
from functools import partial
from itertools import count
from typing import Callable, NamedTuple

import torch
import torch.nn.functional as F

import data as datasets
import models
import train

SCOPES = ("layer", "global")
IMAGES = 10   # of each class, for SNIP and GraSP: as Wang et al. do, and in sum Lee et al.'s batch of 100
COOL = 200    # GraSP divides the logits by this, in its authors' code
SHARED = ("net", "data_crc32", "seed", "rate_conv", "rate_fc", "rate_out")  # with a run that masks are from
STRETCH = 10  # the most that `rescaled` multiplies a unit's weights by


# A score is score(state, w0, masks, config, data, level) -> {layer: tensor like its weight}; the largest win.
# `state` is what is scored and `w0` the initial one, or that of step K, whatever --rewind makes of it,
# {parameter: tensor}; `level` is the one to come.

def weights(state):
    """{layer: weight} of a state."""
    return {name.removesuffix(".weight"): w for name, w in state.items() if name.endswith(".weight")}


def magnitude(state, *_):
    """|w|."""
    return {name: w.abs() for name, w in weights(state).items()}


def movement(state, w0, *_):
    """|w_T - w_0|."""
    return {name: (w - w0[f"{name}.weight"]).abs() for name, w in weights(state).items()}


def magnitude_increase(state, w0, *_):
    """|w_T| - |w_0|."""
    return {name: w.abs() - w0[f"{name}.weight"].abs() for name, w in weights(state).items()}


def random(state, w0, masks, config, data, level):
    """Uniform in [0, 1), the same for all schemes of a seed."""
    g = datasets.rng(config["seed"], "random-scores", level)
    return {name: torch.rand(mask.shape, generator=g) for name, mask in masks.items()}


def random_init(state, w0, masks, config, data, level):
    """One draw for all densities, so that their masks are nested."""
    return random(state, w0, masks, config, data, 0)


def sample(config, data):
    """(x, y) of IMAGES training images of each class, the same for all schemes and densities of a seed."""
    order = torch.randperm(len(data.y_train), generator=datasets.rng(config["seed"], "score-images"))
    labels = data.y_train.cpu()[order]
    rows = torch.cat([order[labels == label][:IMAGES] for label in labels.unique()]).to(data.y_train.device)
    return data.x_train[rows], data.y_train[rows]


def network(state, masks, config, like):
    """(a fresh network of `state` under `masks`, its {layer: weight}), of the device and dtype of `like`."""
    model = models.build(config["net"], tuple(like.shape[1:])).to(like)
    model.load_state_dict({name: tensor * masks.get(name.removesuffix(".weight"), 1)
                           for name, tensor in state.items()})
    return model, {name: layer.weight for name, layer in models.layers(model).items()}


def products(w, gradient):
    """{layer: w * gradient} on the CPU."""
    return {name: (w[name] * g).detach().cpu() for name, g in zip(w, gradient)}


def snip(state, w0, masks, config, data, level):
    """|w dL/dw| = |dL/dc| of a factor c = 1 on the weight: Lee et al. 2019 (arXiv 1810.02340)."""
    model, w = network(state, masks, config, data.x_train)
    x, y = sample(config, data)
    gradient = torch.autograd.grad(F.cross_entropy(model(x), y), list(w.values()))
    return {name: score.abs() for name, score in products(w, gradient).items()}


def grasp(state, w0, masks, config, data, level):
    """w Hg, with its sign: Wang et al. 2020 (arXiv 2002.07376) remove the highest -w Hg, since removing w
    changes |g|^2 by -2 w Hg to first order, and so keep the most gradient.

    g is the gradient of the weights alone, as in the authors' code, and Hg that of |g|^2 / 2.
    """
    model, w = network(state, masks, config, data.x_train)
    x, y = sample(config, data)
    g = torch.autograd.grad(F.cross_entropy(model(x) / COOL, y), list(w.values()), create_graph=True)
    return products(w, torch.autograd.grad(sum(part.square().sum() for part in g) / 2, list(w.values())))


def synflow(state, w0, masks, config, data, level):
    """|w dR/dw|, R the sum of the outputs for an input of ones where every weight is |w| and every bias 0:
    Tanaka et al. 2020 (arXiv 2006.05467). R is a product over the layers, hence float64."""
    positive = {name: tensor.abs() if name.endswith(".weight") else torch.zeros_like(tensor)
                for name, tensor in state.items()}
    ones = torch.ones_like(data.x_train[:1], dtype=torch.float64)
    model, w = network(positive, masks, config, ones)
    return products(w, torch.autograd.grad(model(ones).sum(), list(w.values())))


def survivors(masks, config, level):
    """{layer: weights kept at `level`}, counted from level 0 so that no rounding adds up."""
    return {name: round(mask.numel() * (1 - config[f"rate_{models.kind(name)}"]) ** level)
            for name, mask in masks.items()}


def keep_largest(scores, masks, kept, scope):
    """Masks of exactly kept[layer] of the highest `scores` among what `masks` has left; with scope "global",
    of sum(kept) over all layers. Of equal scores the first stay; a score that is no number is the lowest."""
    new = {}
    for group in [list(masks)] if scope == "global" else [[name] for name in masks]:
        keep = torch.cat([masks[name].flatten() for name in group])
        score = torch.cat([scores[name].flatten() for name in group])[keep].nan_to_num(nan=-torch.inf)
        lowest = score.argsort(descending=True, stable=True)[sum(kept[name] for name in group):]
        keep[keep.nonzero().flatten()[lowest]] = False
        for name, part in zip(group, keep.split([masks[name].numel() for name in group])):
            new[name] = part.view_as(masks[name])
    return new


def keep_weights(scores, masks, config, level):
    """Masks of the weights with the largest scores."""
    return keep_largest(scores, masks, survivors(masks, config, level), config["scope"])


def keep_units(scores, masks, config, level):
    """Masks of the hidden units, or filters, with the largest mean score of their incoming weights; the rates
    count units. A layer keeps its best one in any case. Within a layer the mean of |w| ranks as the L1 norm
    of Li et al. 2017 (arXiv 1608.08710) does."""
    alive = {name: masks[name].flatten(1).any(1) for name in list(masks)[:-1]}
    means = {name: (scores[name] * masks[name]).flatten(1).sum(1) / masks[name].flatten(1).sum(1)
             for name in alive}  # 0/0 of a removed unit, which nothing reads
    for name, mean in means.items():
        mean[mean.masked_fill(~alive[name], -torch.inf).argmax()] = torch.inf
    kept = {name: max(1, units) for name, units in survivors(alive, config, level).items()}
    return without_units(keep_largest(means, alive, kept, config["scope"]), masks)


def without_units(alive, masks):
    """`masks` less the rows of units that `alive` ({hidden layer: (units,) bool}) lacks, and less the columns
    that read them."""
    new, inputs = {}, torch.ones(1, dtype=torch.bool)
    for name, mask in masks.items():
        rows = alive.get(name, torch.ones(len(mask), dtype=torch.bool))
        columns = inputs.repeat_interleave(mask.size(1) // len(inputs))  # flattened, a channel is H*W columns
        new[name] = mask & torch.outer(rows, columns).view(*mask.shape[:2], *[1] * (mask.dim() - 2))
        inputs = rows
    return new


class Pruner(NamedTuple):
    score: Callable
    text: str
    when: str = "after"            # what it scores: trained weights, or those "before" any training
    rounds: int = 1                # from the masks given to those wanted, with fresh scores in each
    keep: Callable = keep_weights  # keep(scores, masks, config, level) -> masks


PRUNERS = {
    "magnitude": Pruner(magnitude, "|w| after training: Han et al. 2015, arXiv 1506.02626"),
    "movement": Pruner(movement, "|w - w0|: Zhou et al. 2019, arXiv 1905.01067"),
    "magnitude_increase": Pruner(magnitude_increase, "|w| - |w0|: Zhou et al. 2019, arXiv 1905.01067"),
    "random": Pruner(random, "chance, drawn afresh at every level"),
    "filters": Pruner(magnitude, "whole hidden units or filters, mean |w|: Li et al. 2017, arXiv 1608.08710",
                      keep=keep_units),
    "magnitude_init": Pruner(magnitude, "|w0|, before training: Frankle et al. 2021, arXiv 2009.08576",
                             "before"),
    "random_init": Pruner(random_init, "chance, before training, one draw for all densities", "before"),
    "snip": Pruner(snip, "|w dL/dw|, before training: Lee et al. 2019, arXiv 1810.02340", "before"),
    "grasp": Pruner(grasp, "w Hg, before training: Wang et al. 2020, arXiv 2002.07376", "before"),
    "synflow": Pruner(synflow, "synaptic flow, before training, in 100 rounds: Tanaka et al. 2020, "
                      "arXiv 2006.05467", "before", 100),
}


def next_masks(config, data, state, w0, masks, level):
    """The masks of `level`, from `state` under `masks`: the last level's, level 0's with --one-shot,
    or for a pruner "before" training the state that is then trained and masks of ones.

    After round r of n a layer keeps density ** (r / n) of its weights, as Tanaka et al. 2020 do.
    """
    pruner = PRUNERS[config["pruner"]]
    for part in range(1, pruner.rounds + 1):
        scores = pruner.score(state, w0, masks, config, data, level)
        masks = pruner.keep(scores, masks, config, level * part / pruner.rounds)
    return masks


# A rewind is rewind(w0, masks, last) -> the state that a level restarts from; `last` is the one scored.

def rewound(w0, masks, last):
    """The initial values, or those of step K."""
    return w0


def none(w0, masks, last):
    """the trained weights: no rewinding"""
    return last


def signs(w0, masks, last):
    """sign(w0) times the standard deviation of the layer's w0: Zhou et al. 2019, arXiv 1905.01067"""
    return w0 | {f"{name}.weight": w.sign() * w.std() for name, w in weights(w0).items()}


def rescaled(w0, masks, last):
    """the surviving w0, scaled to each unit's dense norm: after Evci et al. 2022, arXiv 2010.03533

    From w0 at every level, STRETCH at most; Evci et al. go by the number of survivors instead."""
    new = dict(w0)
    for name, w in weights(w0).items():
        dense, left = w.flatten(1).norm(dim=1), (w * masks[name]).flatten(1).norm(dim=1)
        factor = (dense / left).nan_to_num(nan=1).clamp(max=STRETCH)  # of an empty unit, any finite one
        new[f"{name}.weight"] = w * masks[name] * factor.view(-1, *[1] * (w.dim() - 1))
    return new


REWINDS = {"none": none, "signs": signs, "rescaled": rescaled}


def without_idle_biases(state, masks):
    """`state` with 0 for the bias of a hidden unit that no weight enters or leaves, so that a removed unit is
    gone as a whole. Nothing reads it and its gradient is 0: training is the same."""
    new, names = dict(state), list(masks)
    for name, reader in zip(names, names[1:]):
        enters = masks[name].flatten(1).any(1)
        leaves = masks[reader].any(0).view(len(enters), -1).any(1)
        new[f"{name}.bias"] = state[f"{name}.bias"].masked_fill(~(enters | leaves), 0)
    return new


# A control is control(masks, config, level) -> masks, from those of a finished run's level

def unchanged(masks, config, level):
    """The same masks."""
    return masks


def shuffle(masks, config, level):
    """Masks permuted within each layer, by one permutation a run so that nested ones stay nested. Where it
    gives the same mask another is drawn, if the mask is not all of one kind."""
    new = {}
    for name, mask in masks.items():
        for attempt in count():
            g = datasets.rng(config["seed"], "shuffle", name, attempt)
            new[name] = mask.flatten()[torch.randperm(mask.numel(), generator=g)].view_as(mask)
            if not torch.equal(new[name], mask) or mask.all() or not mask.any():
                break
    return new


def random_mask(masks, config, level):
    """Random masks with the counts of `masks` layer by layer, fresh at each level."""
    g = datasets.rng(config["seed"], "random-mask", level)
    scores = {name: torch.rand(mask.shape, generator=g) for name, mask in masks.items()}
    everything = {name: torch.ones_like(mask) for name, mask in masks.items()}
    return keep_largest(scores, everything, {name: int(mask.sum()) for name, mask in masks.items()}, "layer")


class Control(NamedTuple):
    key: str          # of the initial draw
    change: Callable  # change(masks, config, level) -> masks
    text: str


CONTROLS = {
    "none": Control("init", unchanged, "this scheme's own draw under the masks of another run"),
    "reinit": Control("reinit", unchanged, "another draw of the scheme, one a run, under the same masks"),
    "shuffle": Control("init", shuffle, "the masks permuted within each layer"),
    "random_mask": Control("init", random_mask, "random masks of the same counts, fresh at each level"),
}


def contents(init, data):
    """The likes of a level_NN.pt."""
    bits = models.correct_bits(torch.zeros(len(data.y_test), dtype=torch.bool))
    return {"state": init, "masks": train.ones(init), "correct": bits}


def checkpoint(folder, level, init, data):
    """(state, masks) at the end of a level."""
    saved = train.load(folder / f"level_{level:02d}.pt", contents(init, data))
    return saved["state"], saved["masks"]


def open_donor(args, config):
    """The folder of the run whose masks are taken, None without one; it is read and never written."""
    if not config["masks_from"]:
        return None
    folder = args.out / config["masks_from"]
    path = folder / "metrics.json"
    donor = train.load(path) if path.exists() else {"config": {}, "levels": []}
    if len(donor["levels"]) <= args.levels:
        raise SystemExit(f"{folder} has no masks for {args.levels} levels: run it first, to as many levels")
    if any(donor["config"][key] != config[key] for key in SHARED):
        raise SystemExit(f"{folder} is of another net, data file, seed or rate: name one that shares them")
    for level in range(args.levels + 1):
        train.load(folder / f"level_{level:02d}.pt")
    return folder


def choose(config, data, folder, donor, init, level):
    """(masks of `level`, masks they were chosen from, state they were chosen by)."""
    ones, pruner = train.ones(init), PRUNERS[config["pruner"]]
    if level == 0:
        return ones, None, init
    if donor:
        change = CONTROLS[config["control"] or "none"].change
        before, masks = (change(checkpoint(donor, k, init, data)[1], config, k)
                         for k in (level - 1, level))
        nested = all((masks[name] <= before[name]).all() for name in masks)
        return masks, before if nested else ones, init
    state, masks = init, ones
    if pruner.when == "after":
        state, masks = checkpoint(folder, 0 if config["one_shot"] else level - 1, init, data)
    return next_masks(config, data, state, init, masks, level), masks, state


def readable(path, like):
    """Whether there is such a file as was written; of a damaged one, say that it is made again."""
    try:
        return bool(train.load(path, like))
    except FileNotFoundError:
        return False
    except train.Damaged as damage:
        print(f"{damage}: it is made again", file=sys.stderr)
        return False


def iterate(args, data, folder, config, metrics, bar):
    """Go on with a run from its last finished level to args.levels."""
    donor = open_donor(args, config)
    drawn, metrics["init"] = train.initial(config, data, CONTROLS[config["control"] or "none"].key)
    start, underway = train.first_step(config), folder / "underway.pt"
    train.begin(folder, metrics)
    if not readable(folder / "init.pt", drawn):
        bar.total += start
        walked, _ = train.from_state(config, data, drawn, train.ones(drawn), 0, 0, start, bar, underway)
        train.save(folder / "init.pt", walked)
    init = train.load(folder / "init.pt")
    like = contents(init, data)
    finished = len(metrics["levels"])
    while metrics["levels"] and not readable(folder / f"level_{len(metrics['levels']) - 1:02d}.pt", like):
        metrics["levels"].pop()
    if len(metrics["levels"]) < finished:
        left = len(metrics["levels"])
        metrics["provenance"] = [row for row in metrics["provenance"] if row["level"] < left]
        train.note(metrics, train.provenance(args, data))
        print(f"{folder} lacks a checkpoint: it goes on from level {left} of {finished - 1}", file=sys.stderr)
    for level in range(len(metrics["levels"]), args.levels + 1):
        masks, candidates, scored = choose(config, data, folder, donor, init, level)
        state = REWINDS.get(config["rewind"], rewound)(init, masks, scored) if level else init
        diagnose = partial(models.record, drawn, candidates)
        state = without_idle_biases(state, masks)
        train.run_level(args, config, data, folder, metrics, state, masks, diagnose, bar)


def run_name(text):
    if not text.strip() or "/" in text:
        raise argparse.ArgumentTypeError("the name of a run, without a folder or a slash")
    return text


def rewind(text):
    if text in REWINDS or text.isdecimal():
        return int(text) if text.isdecimal() else text
    raise argparse.ArgumentTypeError(f"{text!r} is neither a step nor one of {', '.join(REWINDS)}")


def add_args(parser):
    add, rate = parser.add_argument, train.number(float, 0, 1)
    add("--pruner", default="magnitude", choices=PRUNERS, metavar="PRUNER", help="what scores weights, below")
    add("--scope", choices=SCOPES, help="rank within each layer (default), or over all for as many in sum")
    add("--one-shot", action="store_true", help="from dense to each density directly")
    add("--rewind", type=rewind, metavar="REWIND", help="what survivors restart from, below (0)")
    add("--control", choices=list(CONTROLS)[1:], metavar="CONTROL", help="under another run's masks, below")
    add("--masks-from", type=run_name, metavar="RUN",
        help="that run of --out, with {seed}, {init}; else a control's own")
    parser.list("--pruner", {name: row.text for name, row in PRUNERS.items()})
    parser.list("--rewind", {"0": "the initial values", "K": "the values of step K"} | {
        name: row.__doc__.splitlines()[0] for name, row in REWINDS.items()})
    parser.list("--control", {name: row.text for name, row in list(CONTROLS.items())[1:]})
    add("--levels", type=train.number(int, 0, 99), help="rounds (the preset's); more extend a finished run")
    for kind in ("conv", "fc", "out"):
        add(f"--rate-{kind}", type=rate, help=f"share of {kind} weights pruned a round (the paper's)")
    add("--todo", action="store_true", help="print what is not finished, a line a run, and do nothing")


def main():
    parser = train.Parser(__doc__.splitlines()[0])
    train.add_args(parser)
    add_args(parser)
    args = train.parse(parser)
    args.levels = train.PRESETS[args.preset]["levels"] if args.levels is None else args.levels
    if PRUNERS[args.pruner].when == "before" and args.rewind == "none":
        parser.error(f"--pruner {args.pruner} scores before training: no trained weights to go on from")
    if PRUNERS[args.pruner].when == "before" and args.one_shot:
        parser.error(f"--pruner {args.pruner} goes to each density at once anyway: leave out --one-shot")
    if args.rate_conv is not None and not models.NETS[args.net][0]:
        parser.error(f"{args.net} has no convolutions: leave out --rate-conv")
    if args.masks_from and (args.scope or args.pruner != "magnitude"):
        parser.error("--pruner and --scope mean nothing under another run's masks: leave them out")
    if (args.control or args.masks_from) and (args.one_shot or args.rewind == "none"):
        parser.error("--one-shot and --rewind none mean nothing under another run's masks: leave them out")
    todo = train.unfinished(args, args.pruner, args.levels)
    if args.todo:
        for _, config in todo:
            print(f"--init {config['init']} --seed {config['seed']}")
        return
    if not todo:
        return
    data = train.open_data(args, todo)
    for _, config in todo:
        open_donor(args, config)  # before anything is written
    masks = train.ones(train.initial(todo[0][1], data)[0])
    if min(survivors(masks, todo[0][1], args.levels).values()) == 0:
        raise SystemExit(f"--levels {args.levels} leaves a layer without weights: choose fewer")
    train.each_run(args, todo, data, args.levels, partial(iterate, args, data))


if __name__ == "__main__":
    train.at_the_door(main)
