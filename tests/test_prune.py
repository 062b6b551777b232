"""Masks, rewinding and whole runs, each against something slower and plainer."""
import json
import math
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import data
import inits
import models
import prune
import pruners
import runs
import train
from conftest import content, digest, steps_of

# % of weights remaining after so many rounds at the paper's rates, worked out apart from this code
REMAINING = {"fc": {1: 80.04, 3: 51.28, 5: 32.87, 7: 21.07, 9: 13.52, 12: 6.95, 15: 3.58, 18: 1.85, 20: 1.19},
             "conv2": {1: 80.10, 3: 51.41, 7: 21.23, 12: 7.08, 16: 2.97, 20: 1.26},
             "conv4": {1: 81.08, 3: 53.55, 7: 23.88, 12: 9.18, 16: 4.51, 20: 2.34},
             "conv6": {1: 82.54, 3: 56.39, 7: 26.61, 12: 10.62, 16: 5.17, 20: 2.54}}
WEIGHTS = {"fc": 266200, "conv2": 4300992, "conv4": 2425024, "conv6": 2261184}
SHAPES = {"fc": (1, 4, 4), "conv2": (3, 4, 4), "conv4": (3, 8, 8)}  # of small made-up images


def config(net="fc", **settings):
    """The settings of a short run, the paper's but for the length."""
    return {**train.default_config(net, "study"), "net": net, "init": "xavier_normal", "seed": 0,
            "pruner": "magnitude", "epochs": None, "steps": 40, "looks": 2, **settings}


def images(net, dtype=torch.float32, n=240):
    """n images of noise as training, validation and test images."""
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, *SHAPES[net], generator=g).to(dtype), torch.arange(n) % 10
    return data.Data(x, y, x, y, x, y, "none", 0)


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def saved(folder, level):
    return torch.load(folder / f"level_{level:02d}.pt", weights_only=True)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("net", REMAINING)
def test_density_table_of_the_paper(net):
    """And layer by layer the exact counts, in fractions: rounded once, from level 0."""
    masks = models.dense_masks(models.build(net, models.PAPER[net]["shape"]).state_dict())
    total = sum(mask.numel() for mask in masks.values())
    assert total == WEIGHTS[net]
    for level in range(29):
        kept = pruners.kept_counts(masks, config(net), level)
        for name, mask in masks.items():
            rate = Fraction(str(models.PAPER[net]["rates"][name.rstrip("123456")]))
            assert kept[name] == round(mask.numel() * (1 - rate) ** level)
        if level in REMAINING[net]:
            assert abs(100 * sum(kept.values()) / total - REMAINING[net][level]) <= 0.02


def plainly_kept(scores, masks, kept, scope, seed):
    """keep_largest by sorting Python lists: the best score first, of equal ones the higher of the numbers
    that are drawn for all weights that are ranked together."""
    chosen = []
    for group in [list(masks)] if scope == "global" else [[name] for name in masks]:
        every = [(name, i) for name in group for i in range(masks[name].numel())]
        drawn = torch.rand(len(every), generator=data.rng(seed, "ties", *group)).tolist()
        rows = [(scores[name].flatten()[i].item(), number, name, i)
                for (name, i), number in zip(every, drawn) if masks[name].flatten()[i]]
        rows.sort(key=lambda row: (not math.isnan(row[0]), row[0] if row[0] == row[0] else 0, row[1]))
        chosen += rows[len(rows) - sum(kept[name] for name in group):]
    return {name: {i for _, _, layer, i in chosen if layer == name} for name in masks}


VALUES = {"distinct": lambda s: s, "tied": lambda s: (s * 4).round(), "all equal": lambda s: 0 * s,
          "no numbers": lambda s: s.masked_fill(s < 0.6, math.nan).masked_fill(s < 0.3, -math.inf)}


@pytest.mark.parametrize("scope", prune.SCOPES)
@pytest.mark.parametrize("values", VALUES)
def test_keep_largest_is_a_plain_sort(scope, values):
    """Five rounds, so that what is pruned must stay pruned. No number is below any number."""
    g = torch.Generator().manual_seed(1)
    masks = {name: torch.ones(shape, dtype=torch.bool)
             for name, shape in {"conv1": (4, 2, 3, 3), "fc1": (12, 9), "out": (5, 7)}.items()}
    for level in range(1, 6):
        scores = {name: VALUES[values](torch.rand(mask.shape, generator=g)) for name, mask in masks.items()}
        kept = pruners.kept_counts(masks, config(rate_conv=0.15), level)
        expected = plainly_kept(scores, masks, kept, scope, seed=level)
        masks = pruners.keep_largest(scores, masks, kept, scope, seed=level)
        assert {name: set(mask.flatten().nonzero().flatten().tolist())
                for name, mask in masks.items()} == expected


def plain_level(net, state, masks, dataset, level, steps):
    """(state, loss at each step) of a level as anyone would write it: torch.optim.Adam, and every weight
    masked after every step."""
    model, losses = models.build(net, dataset.x_train.shape[1:]), []
    model.load_state_dict(state)
    optimizer = torch.optim.Adam(model.parameters(), models.PAPER[net]["lr"], foreach=False)
    for step in range(-1, steps):
        if step >= 0:
            epoch, i = divmod(step, len(dataset.x_train) // 60)
            order = torch.randperm(len(dataset.x_train), generator=data.rng(0, "order", level, epoch))
            rows = order[i * 60:i * 60 + 60]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(dataset.x_train[rows]).float(), dataset.y_train[rows])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        with torch.no_grad():
            for name, layer in models.layers(model).items():
                layer.weight *= masks[name]
    return model.state_dict(), losses


@pytest.mark.parametrize("net, levels, steps, rates",
                         [("fc", 5, 40, {"rate_fc": 0.6}), ("conv4", 2, 5, {"rate_conv": 0.5})])
def test_levels_equal_a_plain_loop(request, net, levels, steps, rates):
    """Weights, biases and training losses to 1e-10, and the masks that follow from them exactly; fc goes from
    dense to 3%, where its first layer is sparse."""
    torch.set_default_dtype(torch.float64)  # of a gradient near 0 Adam makes steps of float32's rounding
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    dataset, settings = images(net, torch.float64, 120), config(net, **rates)
    w0, _ = train.initial_state(settings, dataset)
    masks = plain_masks = models.dense_masks(w0)
    for level in range(levels):
        state, curves, _ = train.train_from(settings, dataset, w0, masks, *steps_of(level, 0, steps))
        plain, losses = plain_level(net, w0, plain_masks, dataset, level, steps)
        for name in w0:
            torch.testing.assert_close(state[name], plain[name], rtol=0, atol=1e-10)
            assert state[name].is_contiguous()
        means = [np.mean(losses[a:b]) for a, b in zip([0, *curves["step"]], curves["step"])]
        assert curves["train_loss"] == pytest.approx(means, rel=0, abs=1e-10)
        kept = pruners.kept_counts(masks, settings, level + 1)
        masks = pruners.keep_largest(pruners.magnitude(state), masks, kept, "layer", 0)
        plain_masks = pruners.keep_largest(pruners.magnitude(plain), plain_masks, kept, "layer", 0)
        assert same(masks, plain_masks)


@pytest.mark.parametrize("rewind, precision", [
    *((rewind, "fp32") for rewind in ("0", "7", *pruners.REWINDS)), ("0", "bf16")])
def test_every_level_starts_where_it_should(run, blobs, monkeypatch, rewind, precision):
    """Bit for bit: at the scheme's own draw, the weights of step 7, the trained ones, or what is made of the
    draw; under nested masks, outside which all stays 0."""
    starts, real = [], train.train

    def spy(model, masks, *rest):
        starts.append(({name: tensor.clone() for name, tensor in model.state_dict().items()},
                       {name: mask.bool() for name, mask in masks.items()}))
        return real(model, masks, *rest)
    monkeypatch.setattr(train, "train", spy)
    folder, = run("--rewind", rewind, "--precision", precision, "--levels", 3, "--steps", 15).iterdir()
    levels = [saved(folder, level) for level in range(4)]
    assert len(starts) == 5  # the steps to the rewind point, then four levels

    drawn = models.build("fc", (1, 28, 28))
    inits.init_(models.layers(drawn), "xavier_normal", data.rng(0, "init"))
    init = drawn.state_dict()
    if rewind == "7":
        plain, _ = plain_level("fc", init, models.dense_masks(init), data.load("mnist", blobs), 0, 7)
        init = torch.load(folder / "init.pt", weights_only=True)
        for name, tensor in plain.items():
            torch.testing.assert_close(init[name], tensor, rtol=0, atol=1e-6)
    expected = init
    for level, (start, masks) in enumerate(starts[1:]):
        if level and rewind in pruners.REWINDS:
            expected = pruners.REWINDS[rewind].state(init, masks, levels[level - 1]["state"])
        assert same(masks, levels[level]["masks"])
        for name, mask in masks.items():
            assert torch.equal(start[f"{name}.weight"], expected[f"{name}.weight"] * mask)
            assert torch.equal(start[f"{name}.bias"], expected[f"{name}.bias"])
            ended = levels[level]["state"][f"{name}.weight"]
            assert not ended[~mask].any() and (ended != start[f"{name}.weight"])[mask].any()
            assert level == 0 or not (mask & ~levels[level - 1]["masks"][name]).any()


def test_canary_a_bad_scheme_stays_bad(run):
    """Rewinding to anything but the scheme's own draw would heal it level by level (and did, in print)."""
    out = run("--steps", 80, "--init", "xavier_normal", "xavier_normal@30")
    good, bad = ([level["val_loss"][-1] for level in metrics_of(next(out.glob(f"*-{name}-*")))["levels"]]
                 for name in ("xavier_normal", "xavier_normal@30"))
    assert all(b > 100 * g for g, b in zip(good, bad)), (good, bad)


def check_survival(run_folder, blobs, key, every_weight=False):
    """The AUROC on record by plain loops over files: the scheme's own draw under `key`, the masks of two
    levels, or, where a level chooses among every weight, of one."""
    metrics, levels = metrics_of(run_folder), [saved(run_folder, level) for level in range(3)]
    w0, _ = train.initial_state(metrics["config"], data.load("mnist", blobs), key)
    for name in ("fc2", "out"):
        w = w0[f"{name}.weight"].abs()
        rows = [record["diagnostics"]["layers"][name] for record in metrics["levels"]]
        assert rows[0]["auroc"] is None
        for before, level, row in zip(levels, levels[1:], rows[1:]):
            candidates = (levels[0] if every_weight else before)["masks"][name]
            kept, others = w[level["masks"][name]], w[candidates & ~level["masks"][name]]
            wins = sum((kept > x).sum().item() + (kept == x).sum().item() / 2 for x in others)
            assert row["auroc"] == pytest.approx(wins / (len(kept) * len(others)))


def test_controls_differ_from_their_run_in_one_thing_and_never_write_to_it(run, blobs):
    short = ("--steps", 6, "--looks", 1, "--rewind", 2)
    donor, = run(*short).iterdir()
    before, template = digest(donor), donor.name.replace("s0", "s{seed}")
    check_survival(donor, blobs, "init")
    for control, row in list(prune.CONTROLS.items())[1:]:
        folder, = run(*short, "--control", control).glob(f"*-{control}-*")
        init = [torch.load(path / "init.pt", weights_only=True) for path in (donor, folder)]
        assert same(*init) == (control != "reinit")
        for level in range(3):
            its, own = saved(donor, level)["masks"], saved(folder, level)["masks"]
            assert all(its[name].sum() == own[name].sum() for name in its)
            assert same(its, own) == (control == "reinit" or level == 0)
        check_survival(folder, blobs, row.key, control == "random_mask")
    swap, = run(*short, "--init", "kaiming_uniform", "--masks-from", template).glob("*-from-*")
    assert same(saved(donor, 2)["masks"], saved(swap, 2)["masks"]) and digest(donor) == before


def test_masks_that_do_not_fit_or_are_gone_are_refused_before_anything_is_written(run):
    short = ("--steps", 5, "--looks", 1)
    donor, = run(*short).iterdir()
    metrics = runs.load_file(donor / "metrics.json")
    with pytest.raises(SystemExit, match="no masks for 5 levels: run it first"):
        run(*short, "--masks-from", donor.name, "--levels", 5)
    for key in ("net", "data", "data_crc32", "seed", "rate_conv", "rate_fc", "rate_out"):
        runs.save_file(donor / "metrics.json", {**metrics, "config": {**metrics["config"], key: "other"}})
        with pytest.raises(SystemExit, match="of another net, data file, seed or rate"):
            run(*short, "--masks-from", donor.name)
    runs.save_file(donor / "metrics.json", metrics)
    (donor / "level_01.pt").unlink()
    with pytest.raises(SystemExit, match="level_01.pt is gone: delete its folder and run again"):
        runs.run_cli(lambda: run(*short, "--control", "shuffle"))
    assert list(donor.parent.iterdir()) == [donor]


def test_a_finished_run_returns_and_more_levels_extend_it(run, tmp_path, capsys, monkeypatch):
    """Under other settings it does neither."""
    short = ("--steps", 8, "--levels", 3)
    folder, = run(*short).iterdir()
    whole, times = digest(folder), {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    run(*short, "--data-dir", tmp_path / "nowhere")  # not even the data is opened
    assert "is finished" in capsys.readouterr().err
    with monkeypatch.context() as patch, pytest.raises(SystemExit, match="lr is 0.0012 there and 0.5 here"):
        patch.setitem(models.PAPER["fc"], "lr", 0.5)
        run(*short, "--levels", 4)
    assert times == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    for level in (1, 3):
        run(*short, "--levels", level, "--out", tmp_path / "b")
    assert digest(tmp_path / "b" / folder.name) == whole
    assert len(metrics_of(tmp_path / "b" / folder.name)["provenance"]) == 1


@pytest.mark.parametrize("kept", [0, 1])
def test_levels_without_checkpoints_are_made_again_and_said_to_be(run, tmp_path, capsys, kept):
    """As of runs that stats.py has brought back, or from level 1 on; provenance is that of their making."""
    short = ("--steps", 8, "--looks", 1)
    folder, = run(*short).iterdir()
    metrics = runs.load_file(folder / "metrics.json")
    metrics["provenance"][0]["commit"] = "old"
    runs.save_file(folder / "metrics.json", metrics)
    for path in sorted(folder.glob("*.pt"))[2 * kept:]:  # init.pt comes first
        path.unlink()
    run(*short, "--levels", 3)
    assert f"{folder} lacks a checkpoint: it goes on from level {kept} of 2" in capsys.readouterr().err
    run(*short, "--levels", 3, "--out", tmp_path / "whole")
    assert digest(folder) == digest(tmp_path / "whole" / folder.name)
    rows = [(row["level"], row["commit"] == "old") for row in metrics_of(folder)["provenance"]]
    assert rows == ([(0, True), (1, False)] if kept else [(0, False)])


def test_several_runs_are_each_as_if_alone(run, tmp_path):
    short = ("--steps", 8, "--looks", 1, "--levels", 1)
    run(*short, "--init", "kaiming_uniform", "xavier_normal", "--seed", 1, 0, "--out", tmp_path / "all")
    for init in ("kaiming_uniform", "xavier_normal"):
        run(*short, "--init", init, "--seed", 1, "--out", tmp_path / "one")
        name = f"mnist-fc-{init}-magnitude-steps8-looks1-s1"
        assert digest(tmp_path / "all" / name) == digest(tmp_path / "one" / name)


def test_a_run_that_another_process_has_finished_since_is_left_alone(run, monkeypatch):
    """Found unfinished, and finished before its turn came."""
    short, complete, before = ("--steps", 4, "--looks", 1, "--levels", 0), train.complete, []

    def late(*args):
        monkeypatch.setattr(train, "complete", complete)
        before.append(content(next(run(*short).iterdir())))
        complete(*args)
    monkeypatch.setattr(train, "complete", late)
    folder, = run(*short).iterdir()
    assert [content(folder)] == before


def test_names_never_collide(monkeypatch):
    parser = train.Parser("")
    train.add_training_flags(parser)
    prune.add_pruning_flags(parser)
    choices = [[], *(line.split() for line in (
        "--scope global", "--rewind 500", "--rewind none", "--epochs 5", "--steps 5", "--epochs 2",
        "--lr 0.1", "--batch 5", "--rate-fc .5", "--rate-out .5", "--input unit", "--preset quick",
        "--preset paper", "--looks 3", "--precision bf16",
        "--one-shot", "--control reinit", "--control shuffle", "--masks-from a-s{seed}"))]
    configs = {}
    for words in [[*a, *b] for a in choices for b in choices if {"--epochs", "--steps"} - {*a, *b}]:
        monkeypatch.setattr(sys, "argv", ["prune.py", *words])
        for name, settings in train.expand_configs(train.parse(parser), "magnitude"):
            assert configs.setdefault(name, settings) == settings
    assert "mnist-fc-xavier_normal-magnitude-global-rewind500-s0" in configs


def test_a_loss_that_is_no_number_is_recorded(run):
    levels = metrics_of(next(run("--lr", 1e30, "--looks", 4).iterdir()))["levels"]
    for level in levels:
        assert level["diverged"] and level["train_loss"][-1] is None and len(level["step"]) < 4
    assert [level["kept"]["out"] for level in levels] == [1000, 900, 810]


def test_the_baseline_is_level_0(run, tmp_path, blobs, monkeypatch):
    short = ("--steps", 8, "--looks", 1)
    folder, = run(*short, "--levels", 0).iterdir()
    words = ["train.py", *short, "--data-dir", blobs, "--out", tmp_path / "base"]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))
    train.main()
    base, = (tmp_path / "base").iterdir()
    ours, its = ({**metrics_of(path)["levels"][0], "seconds": 0} for path in (folder, base))
    assert ours == its and same(saved(folder, 0)["state"], saved(base, 0)["state"])


@pytest.mark.parametrize("words", [[], ["--input", "unit"], ["--precision", "bf16"]])
def test_what_is_recorded_of_a_level_is_what_its_network_does(run, blobs, words):
    """On validation images and on test images, with the pixels and the precision asked for."""
    folder, = run("--steps", 4, "--levels", 1, *words).iterdir()
    dataset = data.load("mnist", blobs, "cpu", "unit" if "unit" in words else "standard")
    for number, level in enumerate(metrics_of(folder)["levels"]):
        model, found = models.build("fc", (1, 28, 28)), {}
        model.load_state_dict(saved(folder, number)["state"])
        bits = np.unpackbits(saved(folder, number)["correct"].numpy(), count=300)
        for bf16 in (False, True):
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                for part, (x, y) in {"val": dataset[2:4], "test": dataset[4:6]}.items():
                    logits = model(x).float()
                    right = (logits.argmax(1) == y).int().tolist()
                    assert part == "val" or bf16 != ("bf16" in words) or bits.tolist() == right
                    found[bf16, part] = [F.cross_entropy(logits, y).item(),
                                         (logits.argmax(1) == y).float().mean().item()]
        for part in ("val", "test"):
            recorded, bf16 = [level[f"{part}_loss"][-1], level[f"{part}_acc"][-1]], "bf16" in words
            assert recorded == pytest.approx(found[bf16, part], rel=1e-5)
            assert recorded[0] != pytest.approx(found[not bf16, part][0], rel=1e-5)
        assert found[False, "val"] != pytest.approx(found[False, "test"], rel=1e-3)


@pytest.mark.parametrize("capabilities, for_conv", [
    ({}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
    (None, "fp32")])  # None: an older torch, which does not tell
def test_auto_precision_goes_by_the_convolutions_and_the_cpu(monkeypatch, capsys, capabilities, for_conv):
    """Who names bf16 is told where it is emulated. And float32 is never TF32."""
    if capabilities is None:
        monkeypatch.delattr(torch.cpu, "get_capabilities")
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    parser = train.Parser("")
    train.add_training_flags(parser)
    flags = ["train.py", "--device", "cpu", "--net"]
    for net, expected in {"fc": "fp32", "conv2": for_conv, "conv": for_conv}.items():
        monkeypatch.setattr(sys, "argv", [*flags, net])
        assert train.parse(parser).precision == expected, net
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "argv", [*flags, "conv2", "--precision", "bf16"])
    assert train.parse(parser).precision == "bf16"
    assert ("emulated" in capsys.readouterr().err) == (for_conv == "fp32")
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    train.configure_torch(threads=1)
    assert not torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("info, expected", [
    ("processor\t: 0\nmodel name\t: A: B\ncpu family\t: 25\nmodel\t\t: 17\n\nmodel name\t: C\n",
     "A: B family 25 model 17"),
    ("processor\t: 0\nBogoMIPS\t: 50\n", "an arm"), (None, "an arm")])
def test_the_provenance_names_the_processor(tmp_path, monkeypatch, info, expected):
    monkeypatch.setattr(runs, "Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr(runs.platform, "processor", lambda: "an arm")
    if info:
        (tmp_path / "cpuinfo").write_text(info)
    vectors = torch.backends.cpu.get_cpu_capability()
    assert runs.processor(torch.device("cpu")) == f"cpu, {expected}, {vectors}"


@pytest.mark.parametrize("name", [*pruners.PRUNERS, "magnitude --one-shot", "filters --rewind none"])
def test_every_pruner_runs_to_the_same_counts(run, blobs, monkeypatch, name):
    """And each level's masks are its own: of the initial values, the level before, or in one shot level 0.
    A unit that is removed has no bias though its level restarts from trained ones."""
    name, *words = name.split()
    row = pruners.PRUNERS[name]
    monkeypatch.setitem(models.NETS, "fc", ((), (30, 20)))
    monkeypatch.setitem(pruners.PRUNERS, name, row._replace(passes=min(row.passes, 5)))
    folder, = run("--pruner", name, "--steps", 10, "--looks", 1, *words).iterdir()
    metrics, levels = metrics_of(folder), [saved(folder, level) for level in range(3)]
    init, dataset = torch.load(folder / "init.pt", weights_only=True), data.load("mnist", blobs)
    for level in (1, 2):
        masks, state = levels[0]["masks"], init
        if row.when == "after":
            before = levels[0 if "--one-shot" in words else level - 1]
            masks, state = before["masks"], before["state"]
        expected = pruners.next_masks(masks, state, init, metrics["config"], dataset, level)
        assert same(levels[level]["masks"], expected)
        if row.keep is pruners.keep_weights:
            assert metrics["levels"][level]["kept"] == pruners.kept_counts(masks, config(), level)
    if words == ["--rewind", "none"]:
        for layer in ("fc1", "fc2"):
            removed = ~levels[2]["masks"][layer].any(1)
            assert removed.any() and (levels[2]["state"][f"{layer}.bias"] == 0).equal(removed)
