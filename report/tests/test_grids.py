"""The groups, seeds and ranges that the tables ask for, against the grids of run_all.sh that make the runs.
All that these tests ask of the scripts is in `commands`, `grids` and `planned`."""
import itertools
import os
import subprocess

import pytest
import torch

import formatting
import models
import prune
import pruners
import runs
import stats
import study
import tables
import train
from study import STUDIES

from .conftest import ROOT
from .made import made

# of run_all.sh
GRIDS = ("fc", "conv", "gpu", "controls", "screen", "rates", "confirm", "lit", "carry", "before", "why",
         "rounds", "fashion", "half", "conv-confirm", "conv6")


def commands(grid):
    """[(args, run name, config)] of a grid by the real parser."""
    env = {**os.environ, "PYTHON": "python"}
    words = ["bash", "run_all.sh", "list", grid]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    parser, found = train.Parser(""), []
    train.add_training_flags(parser)
    prune.add_pruning_flags(parser)
    with pytest.MonkeyPatch.context() as patch:
        for line in done.stdout.splitlines():
            words = line.split()
            patch.setattr("sys.argv", [*words[words.index("prune.py"):], "--device", "cpu"])
            args = train.parse(parser)
            found += [(args, *run) for run in train.expand_configs(args, args.pruner)]
    return found


@pytest.fixture(scope="module")
def grids():
    """{group: {scheme: seeds}} and {group: config, with its levels} of all grids."""
    seeds, configs = {}, {}
    for grid in GRIDS:
        for args, name, config in commands(grid):
            group = runs.group_name(name, config)
            seeds.setdefault(group, {}).setdefault(config["init"], set()).add(config["seed"])
            levels = train.PRESETS[args.preset]["levels"] if args.levels is None else args.levels
            if levels >= configs.get(group, {"levels": 0})["levels"]:
                configs[group] = {**config, "levels": levels}
    return seeds, configs


def planned(config):
    """Densities of all levels by prune.py's own counts; of whole units, by its own choice among equals."""
    layers = models.layers(models.build(config["net"], models.PAPER[config["net"]]["shape"]))
    weights = {name: layer.weight for name, layer in layers.items()}
    size, found = sum(w.numel() for w in weights.values()), []
    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    for level in range(config["levels"] + 1):
        kept = pruners.kept_counts(weights, config, level)
        if pruners.PRUNERS[config["pruner"]].keep is pruners.keep_units:
            scores = {name: w.detach().abs() for name, w in weights.items()}
            masks = pruners.keep_units(scores, masks, config, level)
            kept = {name: int(mask.sum()) for name, mask in masks.items()}
        found.append(sum(kept.values()) / size)
    return found


@pytest.fixture(scope="module")
def whole(grids):
    """Groups of made-up runs under the names and at the densities of all grids, some seeds: the first
    scheme of a group at 97%, each further one 0.1 points lower."""
    runs = []
    for group, schemes in grids[0].items():
        shares = planned(grids[1][group])
        for place, init in enumerate(schemes):
            for seed in schemes[init] & {0, 1, *range(10, 16), *range(30, 39)}:
                run = made(init, seed, 97 - place / 10, 96 - place / 10, group=group, levels=len(shares))
                for level, share in zip(run["levels"], shares):
                    level["kept"], level["size"] = {"all": share}, {"all": 1}
                runs.append(run)
    return stats.groups(runs)


class Asked(dict):
    """An empty dict that notes the keys it is asked for."""

    def get(self, key, default=None):
        self.setdefault("asked", set()).add(key)
        return default


def test_the_tables_ask_for_the_groups_of_the_grids_and_for_no_others(grids):
    found = Asked()
    for name, table in tables.TABLES.items():
        records = table.records(found)
        assert not any(row.get("difference") for row in records), name
    assert found["asked"] == set(grids[0])


def test_the_four_schemes_have_their_seeds_in_every_group(grids):
    for asked, seeds, inits in (*(([each.group], each.seeds, stats.STANDARD) for each in STUDIES.values()),
                                (study.METHODS.values(), range(5), stats.STANDARD),
                                (study.VARIANTS.values(), range(5), stats.STANDARD),
                                (study.CONTROL_GROUPS.values(), range(5), ["xavier_normal"])):
        assert all(grids[0][group][init] >= set(seeds) for group in asked for init in inits), asked


@pytest.mark.filterwarnings("ignore:invalid value")      # of a correlation, since all seeds are equal
def test_of_all_grids_every_table_has_all_its_rows(grids, whole):
    """Rows as many as names, none with an empty number, where every run of the grids is there."""
    records = {name: table.records(whole) for name, table in tables.TABLES.items()}
    ranges = {name: len(each.ranges) for name, each in STUDIES.items()}
    both, parts = (study.UPPER, study.SPARSE), study.PARTS
    for table, key, wanted in (
            ("endpoints", "study", [name for name in ranges     # halving passes 7% by
                                    for _ in range(2 * (ranges[name] + (name != "fashion")))]),
            *((table, "study", [name for name in ranges for _ in range(count * ranges[name])])
              for table, count in (("contrasts", 3), ("pairs", 6), ("retained", 2))),
            *((table, "study", STUDIES) for table in ("best", "limits")),
            ("screen", "scheme", grids[0][study.HALVED]), ("methods", "method", study.METHODS),
            ("why", "variant range", itertools.product(study.VARIANTS, both)),
            ("swaps", "method other range", ((*swap, bounds) for swap in study.SWAPS for bounds in both)),
            ("parts", "method range", itertools.product(study.METHODS, parts)),
            ("zeroing", "effect", ["upper", "test"]),
            ("before", "method", study.AT_INITIALIZATION)):     # no heavy one yet
        found = [tuple(row[each] for each in key.split()) for row in records[table]]
        wanted = [each if isinstance(each, tuple) else (each,) for each in wanted]
        if table in ("best", "limits", "screen"):
            found, wanted = set(found), set(wanted)
        assert found == wanted, table
    assert all((row["p"] is None) == (row["n"] < 6) for row in records["contrasts"])
    for name in ("endpoints", "limits", "why", "swaps"):
        page = formatting.markdown(tables.TABLES[name], records[name])
        assert "|  |" not in page and "nan" not in page, name
    assert all(row["mean"] == pytest.approx(96.85) for row in records["methods"])   # 97, 96.9, 96.8 and 96.7
