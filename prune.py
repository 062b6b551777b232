"""Iterative pruning: train, score the weights, mask the smallest, rewind the rest, again.

    python prune.py --net conv --init kaiming_uniform --seed 2
    python prune.py --net fc --init xavier_normal kaiming_normal --seed 0 1 2

Before every level the survivors are reset to their own initial values, or to those of step K (--rewind K):
Frankle & Carbin 2019 (arXiv 1803.03635), Frankle et al. 2020 (arXiv 1912.05671).
"""
import sys

import torch

import models
import train


def magnitude(state):
    """|w| at the end of training: {layer: tensor}."""
    return {name.removesuffix(".weight"): w.abs() for name, w in state.items() if name.endswith(".weight")}


PRUNERS = {"magnitude": magnitude}
SCOPES = ("layer", "global")


def survivors(masks, config, level):
    """{layer: weights kept at `level`}, counted from level 0 so that no rounding adds up."""
    return {name: round(mask.numel() * (1 - config[f"rate_{models.kind(name)}"]) ** level)
            for name, mask in masks.items()}


def keep_largest(scores, masks, kept, scope):
    """Masks of exactly kept[layer] of the highest `scores` among what `masks` has left; with scope "global",
    of sum(kept) over all layers. Of equal scores the first stay; a score that is no number counts as 0."""
    new = {}
    for group in [list(masks)] if scope == "global" else [[name] for name in masks]:
        score = torch.cat([scores[name].flatten() for name in group]).nan_to_num(nan=0.0)
        alive = torch.cat([masks[name].flatten() for name in group])
        order = score.masked_fill(~alive, -torch.inf).argsort(descending=True, stable=True)
        keep = torch.zeros_like(alive)
        keep[order[:sum(kept[name] for name in group)]] = True
        for name, part in zip(group, keep.split([masks[name].numel() for name in group])):
            new[name] = part.view_as(masks[name])
    return new


def iterate(args, config, data, folder, metrics, bar):
    """Go on with a run from its last finished level to args.levels."""
    w0, metrics["init"] = train.initial(config, data)
    if not (folder / "init.pt").exists():
        walked, _ = train.from_state(config, data, w0, train.ones(w0), 0, 0, train.first_step(config), bar)
        train.save(folder / "init.pt", walked)
    state = train.load(folder / "init.pt")
    masks = train.ones(state)
    for level in range(len(metrics["levels"]), args.levels + 1):
        if level:
            last = train.load(folder / f"level_{level - 1:02d}.pt")
            masks = keep_largest(PRUNERS[config["pruner"]](last["state"]), last["masks"],
                                 survivors(masks, config, level), config["scope"])
            state = last["state"] if config["rewind"] == "none" else state
        train.run_level(args, config, data, folder, metrics, state, masks, bar)


def rewind(text):
    return text if text == "none" else train.number(int, 0)(text)


def add_args(parser):
    add, rate = parser.add_argument, train.number(float, 0, 1)
    add("--pruner", default="magnitude", choices=PRUNERS, help="what is kept: the largest score")
    add("--scope", choices=SCOPES, help="rank within each layer (default), or over all for as many in sum")
    add("--rewind", type=rewind, metavar="0|K|none",
        help="survivors restart from the initial values (0, default), from step K, or go on (none)")
    add("--levels", type=train.number(int, 0, 99), help="rounds of pruning; more extend a finished run")
    for kind in ("conv", "fc", "out"):
        add(f"--rate-{kind}", type=rate, help=f"share of {kind} weights pruned a round (the paper's)")
    add("--todo", action="store_true", help="print what is not finished, a line a run, and do nothing")


def main():
    parser = train.Parser(description=__doc__.splitlines()[0])
    train.add_args(parser)
    add_args(parser)
    args = train.parse(parser)
    args.levels = train.PRESETS[args.preset]["levels"] if args.levels is None else args.levels
    todo = train.unfinished(args, args.pruner, args.levels)
    if args.todo:
        for _, config in todo:
            print(f"--init {config['init']} --seed {config['seed']}")
        return
    if not todo:
        return
    data = train.open_data(args)
    masks = train.ones(train.initial(todo[0][1], data)[0])
    if min(survivors(masks, todo[0][1], args.levels).values()) == 0:
        raise SystemExit(f"--levels {args.levels} leaves a layer without weights: choose fewer")
    for folder, config in todo:
        with train.open_run(args, folder, config, data, args.levels) as (metrics, bar):
            iterate(args, config, data, folder, metrics, bar)


if __name__ == "__main__":
    train.at_the_door(main)
