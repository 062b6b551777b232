"""Pruning: train, mask the lowest-scoring weights, reset the others, repeat.

    python prune.py --net conv --init kaiming_uniform --seed 2
    python prune.py --net fc --init xavier_normal kaiming_normal --seed 0 1 2
    python prune.py --net fc --pruner synflow --scope global
    python prune.py --net fc --control reinit

Before every level the survivors are reset to their own initial values, or to those of step K (--rewind K):
Frankle & Carbin 2019 (arXiv 1803.03635), Frankle et al. 2020 (arXiv 1912.05671).
"""
import argparse
from itertools import count
from pathlib import Path
from typing import Callable, NamedTuple

import torch

import data as datasets
import models
import runs
import train
from models import Masks, State
from pruners import PRUNERS, REWINDS, keep_largest, keep_weights, kept_counts, next_masks, restart_state

SCOPES = ("layer", "global")
# shared with a donor of masks; the checksum is of the images alone, and "data" tells their labels
DONOR_KEYS = ("net", "data", "data_crc32", "seed", "rate_conv", "rate_fc", "rate_out")


# A control takes the masks of a level of the donor run and gives those to train under.

def unchanged(masks: Masks, config: dict, level: int) -> Masks:
    """The same masks."""
    return masks


def shuffle(masks: Masks, config: dict, level: int) -> Masks:
    """Masks permuted within each layer, by one permutation a run, so that nested masks stay nested. Where
    that leaves a mask as it is, another one is drawn, and masks are no longer nested."""
    new = {}
    for name, mask in masks.items():
        for attempt in count():
            g = datasets.rng(config["seed"], "shuffle", name, attempt)
            new[name] = mask.flatten()[torch.randperm(mask.numel(), generator=g)].view_as(mask)
            if not torch.equal(new[name], mask) or mask.all() or not mask.any():
                break
    return new


def random_mask(masks: Masks, config: dict, level: int) -> Masks:
    """Random masks with the counts of `masks` layer by layer, fresh at each level."""
    g = datasets.rng(config["seed"], "random-mask", level)
    scores = {name: torch.rand(mask.shape, generator=g) for name, mask in masks.items()}
    everything = {name: torch.ones_like(mask) for name, mask in masks.items()}
    counts = {name: int(mask.sum()) for name, mask in masks.items()}
    return keep_largest(scores, everything, counts, "layer", config["seed"])


class Control(NamedTuple):
    """A row of CONTROLS; None is a run without a control."""
    key: str  # of the random stream of the initial weights
    change: Callable[[Masks, dict, int], Masks]
    text: str


CONTROLS = {
    None: Control("init", unchanged, "this scheme's own draw under the masks of another run"),
    "reinit": Control("reinit", unchanged, "random reinitialization: another draw under the same masks"),
    "shuffle": Control("init", shuffle, "the masks permuted within each layer"),
    "random_mask": Control("init", random_mask, "random masks of the same counts, fresh at each level"),
}


def checkpoint_template(state: State, data: datasets.Data) -> dict:
    """A dict with the structure that the level_NN.pt of a run have."""
    bits = runs.pack_bits(torch.zeros(len(data.y_test), dtype=torch.bool))
    return {"state": state, "masks": models.dense_masks(state), "correct": bits}


def open_donor(out: Path, config: dict, levels: int, data: datasets.Data) -> runs.Run | None:
    """The run whose masks are taken, None without one; it is read and never written. Refused if its initial
    weights are not those that its scheme gives now."""
    if not config["masks_from"]:
        return None
    donor = runs.Run(out / config["masks_from"], {})
    if donor.next_level <= levels:
        raise SystemExit(f"{donor.folder} has no masks for {levels} levels: run it first, to as many levels")
    own = donor.metrics["config"]
    if any(own[key] != config[key] for key in DONOR_KEYS):
        raise SystemExit(f"{donor.folder} is of another net, data file, seed or rate: "
                         "name one that shares them")
    if own["input"] == config["input"]:  # else a scheme that looks at data would draw other weights
        train.own_draw(runs.Run(donor.folder, own), data, CONTROLS[own["control"]].key)
    for level in range(levels + 1):
        runs.load_file(donor.level_path(level))
    return donor


def chosen_masks(run: runs.Run, data: datasets.Data, w0: State, like: dict,
                 level: int) -> tuple[Masks, Masks, State]:
    """The masks that the run's pruner chooses for `level`, those that it chose them from, and the state that
    it scored. `w0` is the state at the rewind point; a checkpoint has the structure of `like`."""
    state, masks = w0, models.dense_masks(w0)
    if PRUNERS[run.config["pruner"]].when == "after":
        saved = runs.load_file(run.level_path(0 if run.config["one_shot"] else level - 1), like)
        state, masks = saved["state"], saved["masks"]
    return next_masks(masks, state, w0, run.config, data, level), masks, state


def donated_masks(run: runs.Run, donor: runs.Run, w0: State, like: dict,
                  level: int) -> tuple[Masks, Masks, State]:
    """The masks of another run for `level`, changed by the control; as their candidates the masks of the
    level before where these contain them, else ones; and `w0`."""
    change = CONTROLS[run.config["control"]].change
    before, masks = (change(runs.load_file(donor.level_path(k), like)["masks"], run.config, k)
                     for k in (level - 1, level))
    nested = all((masks[name] <= before[name]).all() for name in masks)
    return masks, before if nested else models.dense_masks(w0), w0


def rewind_point(run: runs.Run, data: datasets.Data, initial: State) -> State:
    """The state that every level restarts from, kept in init.pt: `initial` after K steps of dense training
    with --rewind K, else after none. Adam's moments are not kept."""
    path, end = run.folder / "init.pt", train.start_step(run.config)
    if not runs.is_intact(path, initial):
        run.progress.total += end
        trained, *_ = train.train_from(run.config, data, initial, models.dense_masks(initial),
                                       runs.PartialLevel(run.folder, 0, 0, end), run.progress)
        runs.save_file(path, trained)
    return runs.load_file(path)


def iterate(run: runs.Run, data: datasets.Data, levels: int) -> None:
    """Train, prune, rewind, until level `levels` is done: the lottery-ticket loop."""
    donor = open_donor(run.folder.parent, run.config, levels, data)
    initial = train.begin(run, data, CONTROLS[run.config["control"]].key)
    w0 = rewind_point(run, data, initial)
    like = checkpoint_template(w0, data)
    run.drop_unreadable_levels(like)
    for level in range(run.next_level, levels + 1):
        masks, candidates, start = models.dense_masks(w0), None, w0
        if level > 0:
            masks, candidates, scored = (donated_masks(run, donor, w0, like, level) if donor
                                         else chosen_masks(run, data, w0, like, level))
            start = restart_state(run.config["rewind"], w0, masks, scored)
        train.train_level(run, data, start, masks, initial, candidates)


def run_name_arg(text: str) -> str:
    """An argparse type: the name of a run."""
    if not text.strip() or "/" in text:
        raise argparse.ArgumentTypeError("the name of a run, without a folder or a slash")
    return text


def rewind_arg(text: str) -> int | str:
    """An argparse type: a step, or a name of REWINDS."""
    if text in REWINDS or text.isdecimal():
        return int(text) if text.isdecimal() else text
    raise argparse.ArgumentTypeError(f"{text!r} is neither a step nor one of {', '.join(REWINDS)}")


def add_pruning_flags(parser: train.Parser) -> None:
    """The flags of prune.py alone."""
    add, rate = parser.add_argument, train.number(float, 0, 1)
    add("--pruner", default="magnitude", choices=PRUNERS, metavar="PRUNER",
        help="what scores weights, below (magnitude)")
    add("--scope", choices=SCOPES, help="rank within each layer (default), or over all for as many in sum")
    add("--one-shot", action="store_true", help="from dense to each density directly")
    add("--rewind", type=rewind_arg, metavar="REWIND", help="what survivors restart from, below (0)")
    add("--control", choices=list(CONTROLS)[1:], metavar="CONTROL",
        help="train under the masks of a finished run, below")
    add("--masks-from", type=run_name_arg, metavar="RUN",
        help="take masks from this run in --out, with or without --control; {seed} and {init} are filled in")
    parser.add_choices("--pruner", {name: row.text for name, row in PRUNERS.items()})
    parser.add_choices("--rewind", {"0": "the initial values", "K": "the values of step K"} | {
        name: row.text for name, row in REWINDS.items()})
    parser.add_choices("--control", {name: row.text for name, row in list(CONTROLS.items())[1:]})
    add("--levels", type=train.number(int, 0, 99),
        help="rounds, so the last level (the preset's); more extend a finished run")
    for kind in ("conv", "fc", "out"):
        add(f"--rate-{kind}", type=rate, help=f"share of {kind} weights pruned a round (the paper's)")
    add("--todo", action="store_true", help="do nothing; print unfinished runs, and the seconds each takes")


def refuse_contradictions(parser: train.Parser, args: argparse.Namespace) -> None:
    """End with a sentence where flags do not go together."""
    before = PRUNERS[args.pruner].when == "before"
    masks_given = args.control or args.masks_from
    convolutions, units = models.NETS[args.net]
    pruned = {"conv": convolutions, "fc": units, "out": PRUNERS[args.pruner].keep is keep_weights}
    rules = {
        f"--pruner {args.pruner} scores before training: no trained weights to go on from":
            before and args.rewind == "none",
        f"--pruner {args.pruner} goes to each density at once anyway: leave out --one-shot":
            before and args.one_shot,
        **{f"{args.net} under --pruner {args.pruner} has no rate of {kind} weights: leave out --rate-{kind}":
           vars(args)[f"rate_{kind}"] is not None and not there for kind, there in pruned.items()},
        "--pruner and --scope mean nothing under another run's masks: leave them out":
            args.masks_from and (args.scope or args.pruner != "magnitude"),
        "--one-shot and --rewind none mean nothing under another run's masks: leave them out":
            masks_given and (args.one_shot or args.rewind == "none"),
    }
    for sentence in (sentence for sentence, broken in rules.items() if broken):
        parser.error(sentence)


def main() -> None:
    parser = train.Parser("Train, score the weights, mask the smallest, rewind the rest, again.")
    train.add_training_flags(parser)
    add_pruning_flags(parser)
    args = train.parse(parser)
    refuse_contradictions(parser, args)
    train.configure_torch(args.threads)
    levels = train.PRESETS[args.preset]["levels"] if args.levels is None else args.levels
    pending, finished = train.asked_runs(args, args.pruner, levels)
    if not pending:
        return
    data, config = train.open_data(args, pending), pending[0].config
    for run in finished:  # the new ones must be of the same scheme
        train.own_draw(run, data, CONTROLS[config["control"]].key)
    initial, _ = train.initial_state({**config, "init": "xavier_normal"}, data)  # for its shapes
    kept = kept_counts(models.dense_masks(initial), config, levels).values()
    if sum(kept) == 0 or min(kept) == 0 and config["scope"] == "layer":
        raise SystemExit(f"--levels {levels} leaves a layer without weights: choose fewer")
    if args.todo:
        seconds = train.seconds_per_level(config, data, initial)
        for run in pending:
            print(f"{seconds * max(0, levels + 1 - run.next_level):.0f} "
                  f"--init {run.config['init']} --seed {run.config['seed']}")
        return
    for run in pending:
        open_donor(args.out, run.config, levels, data)  # before anything is written
    train.complete(args, pending, data, levels, lambda run: iterate(run, data, levels))


if __name__ == "__main__":
    runs.run_cli(main)
