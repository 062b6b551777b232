"""Masks, rewinding and whole runs, each against something slower and plainer."""
import hashlib
import json
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import pruners

import runs

from conftest import steps_of

import data
import inits
import models
import prune
import train

# % of weights remaining after so many rounds at the paper's rates, worked out apart from this code
REMAINING = {"fc": {1: 80.04, 3: 51.28, 5: 32.87, 7: 21.07, 9: 13.52, 12: 6.95, 15: 3.58, 18: 1.85, 20: 1.19},
             "conv2": {1: 80.10, 3: 51.41, 7: 21.23, 12: 7.08, 16: 2.97, 20: 1.26},
             "conv4": {1: 81.08, 3: 53.55, 7: 23.88, 12: 9.18, 16: 4.51, 20: 2.34},
             "conv6": {1: 82.54, 3: 56.39, 7: 26.61, 12: 10.62, 16: 5.17, 20: 2.54}}


def config(**settings):
    return {"data": "mnist", "net": "fc", "init": "xavier_normal", "pruner": "magnitude", "seed": 0,
            "scope": "layer", "rewind": 0, "one_shot": False, "control": None, "masks_from": None,
            "epochs": None, "steps": 40, "looks": 2, "batch": 60, "lr": 1.2e-3,
            "input": "standard", "precision": "fp32", "rate_conv": 0.0, "rate_fc": 0.2, "rate_out": 0.1,
            **settings}


def full_masks(net):
    layers = models.layers(models.build(net, models.PAPER[net]["shape"]))
    return {name: torch.ones_like(layer.weight, dtype=torch.bool) for name, layer in layers.items()}


@pytest.mark.parametrize("net", REMAINING)
def test_density_table_of_the_paper(net):
    masks = full_masks(net)
    rates = {f"rate_{kind}": rate for kind, rate in models.PAPER[net]["rates"].items()}
    total = sum(mask.numel() for mask in masks.values())
    for level, percent in REMAINING[net].items():
        kept = pruners.kept_counts(masks, config(**rates), level)
        assert abs(100 * sum(kept.values()) / total - percent) <= 0.02
    assert pruners.kept_counts(full_masks("fc"), config(), 20)["out"] == 122  # a rate of 20% would leave 12


def plainly_kept(scores, masks, kept, scope):
    """keep_largest by sorting Python lists: the best score first, of equal ones the first in memory."""
    order = list(masks)
    cells = [(name, i) for name in order for i in range(masks[name].numel()) if masks[name].flatten()[i]]
    cells.sort(key=lambda cell: -scores[cell[0]].flatten()[cell[1]].item())
    chosen = {}
    for name in order:
        own = [cell for cell in cells if cell[0] == name][:kept[name]]
        chosen[name] = {i for _, i in (own if scope == "layer" else
                                       [cell for cell in cells[:sum(kept.values())] if cell[0] == name])}
    return chosen


@pytest.mark.parametrize("scope", prune.SCOPES)
@pytest.mark.parametrize("values", ["distinct", "tied", "all equal"])
def test_keep_largest_is_a_plain_sort(scope, values):
    g = torch.Generator().manual_seed(1)
    shapes = {"conv1": (4, 2, 3, 3), "fc1": (12, 9), "out": (5, 7)}
    masks = {name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()}
    for level in range(1, 6):  # five rounds, so that the dead must stay dead
        scores = {name: torch.rand(shape, generator=g) for name, shape in shapes.items()}
        if values == "tied":
            scores = {name: (score * 4).round() for name, score in scores.items()}
        if values == "all equal":
            scores = {name: torch.zeros_like(score) for name, score in scores.items()}
        kept = pruners.kept_counts(masks, config(rate_conv=0.15), level)
        new = pruners.keep_largest(scores, masks, kept, scope)
        expected = plainly_kept(scores, masks, kept, scope)
        for name in shapes:
            assert set(new[name].flatten().nonzero().flatten().tolist()) == expected[name]
            assert not (new[name] & ~masks[name]).any()
        assert sum(int(mask.sum()) for mask in new.values()) == sum(kept.values())
        masks = new


def test_a_score_that_is_no_number_is_the_smallest():
    scores = {"out": torch.tensor([[1.0, float("nan"), 0.5, float("nan")]])}
    masks = {"out": torch.ones(1, 4, dtype=torch.bool)}
    kept = pruners.keep_largest(scores, masks, {"out": 2}, "layer")["out"]
    assert kept.tolist() == [[True, False, True, False]]


def plain_level(net, w0, masks, dataset, level, steps, seed=0, lr=1.2e-3):
    """A level as anyone would write it: torch.optim.Adam, and every weight masked after every step."""
    model = models.build(net, dataset.x_train.shape[1:])
    model.load_state_dict(w0)
    optimizer = torch.optim.Adam(model.parameters(), lr, foreach=False)
    for step in range(-1, steps):
        if step >= 0:
            epoch, i = divmod(step, len(dataset.x_train) // 60)
            order = torch.randperm(len(dataset.x_train), generator=data.rng(seed, "order", level, epoch))
            rows = order[i * 60:i * 60 + 60]
            optimizer.zero_grad()
            F.cross_entropy(model(dataset.x_train[rows]).float(), dataset.y_train[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            for name, layer in models.layers(model).items():
                layer.weight *= masks[name]
    return model.state_dict()


@pytest.fixture
def double():
    """Networks of float64: where a gradient is nearly 0, Adam makes steps of float32's rounding."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_levels_equal_a_plain_loop(blobs, double):
    """200 steps a level, dense to 1%: weights to 1e-10, and the masks that follow from them exactly."""
    dataset, settings = data.load("mnist", blobs), config(rate_fc=0.6)
    dataset = dataset._replace(**{part: getattr(dataset, part).double()
                                  for part in ("x_train", "x_val", "x_test")})
    w0, _ = train.initial_state(settings, dataset)
    masks = plain_masks = models.dense_masks(w0)
    for level in range(5):
        state, _ = train.train_from(settings, dataset, w0, masks, *steps_of(level, 0, 200))
        plain = plain_level("fc", w0, plain_masks, dataset, level, 200)
        for name in w0:
            torch.testing.assert_close(state[name], plain[name], rtol=0, atol=1e-10)
        kept = pruners.kept_counts(masks, settings, level + 1)
        masks = pruners.keep_largest(pruners.magnitude(state), masks, kept, "layer")
        plain_masks = pruners.keep_largest(pruners.magnitude(plain), plain_masks, kept, "layer")
        assert all(torch.equal(masks[name], plain_masks[name]) for name in masks)


def test_a_conv_net_equals_a_plain_loop():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(120, 3, 8, 8, generator=g), torch.randint(10, (120,), generator=g)
    dataset, settings = data.Data(x, y, x, y, x, y, "none", 0), config(net="conv4", lr=3e-4)
    w0, _ = train.initial_state(settings, dataset)
    masks = {name: torch.rand(mask.shape, generator=g) < 0.5 for name, mask in models.dense_masks(w0).items()}
    state, _ = train.train_from(settings, dataset, w0, masks, *steps_of(1, 0, 20))
    plain = plain_level("conv4", w0, masks, dataset, 1, 20, lr=3e-4)
    for name in w0:
        torch.testing.assert_close(state[name], plain[name], rtol=0, atol=1e-5)
        assert state[name].is_contiguous()


@pytest.mark.parametrize("density, precision", [(0.3, "fp32"), (0.03, "fp32"), (0.3, "bf16"), (0.03, "bf16")])
def test_dead_weights_are_zero_after_every_step(blobs, density, precision):
    dataset, settings = data.load("mnist", blobs), config(precision=precision)
    w0, _ = train.initial_state(settings, dataset)
    masks = {name: torch.rand(mask.shape, generator=torch.Generator().manual_seed(0)) < density
             for name, mask in models.dense_masks(w0).items()}
    for stop in range(6):
        state, _ = train.train_from(settings, dataset, w0, masks, *steps_of(3, 0, stop))
        for name, mask in masks.items():
            assert not state[f"{name}.weight"][~mask].any()
            moved = state[f"{name}.weight"][mask] != w0[f"{name}.weight"][mask]
            assert moved.any() == (stop > 0)


@pytest.mark.parametrize("rewind", ["0", "7", "none"])
def test_every_level_starts_where_it_should(run, blobs, monkeypatch, rewind):
    """Bit for bit at the scheme's own draw, the weights of step 7 or the trained ones; under nested masks."""
    starts, real = [], train.train

    def spy(model, masks, *rest):
        starts.append({name: (layer.weight.detach().clone(), masks[name].bool(), layer.bias.detach().clone())
                       for name, layer in models.layers(model).items()})
        return real(model, masks, *rest)
    monkeypatch.setattr(train, "train", spy)
    folder = next(run("--rewind", rewind, "--levels", 3).iterdir())
    levels = [torch.load(folder / f"level_0{k}.pt", weights_only=True) for k in range(4)]
    assert len(starts) == 5  # the walk to the rewind point, then four levels

    drawn = models.build("fc", (1, 28, 28))
    inits.init_(models.layers(drawn), "xavier_normal", data.rng(0, "init"))
    expected = drawn.state_dict()
    if rewind == "7":
        plain = plain_level("fc", expected, full_masks("fc"), data.load("mnist", blobs), 0, 7)
        expected = torch.load(folder / "init.pt", weights_only=True)
        for name, tensor in plain.items():
            torch.testing.assert_close(expected[name], tensor, rtol=0, atol=1e-6)
    for level, start in enumerate(starts[1:]):
        for name, (weight, mask, bias) in start.items():
            assert torch.equal(mask, levels[level]["masks"][name])
            assert torch.equal(weight, expected[f"{name}.weight"] * mask)
            assert torch.equal(bias, expected[f"{name}.bias"])
            assert not levels[level]["state"][f"{name}.weight"][~mask].any()
            assert level == 0 or not (mask & ~levels[level - 1]["masks"][name]).any()
        expected = levels[level]["state"] if rewind == "none" else expected


def test_canary_a_bad_scheme_stays_bad(run):
    """Rewinding to anything but the scheme's own draw would heal it level by level (and did, in print)."""
    out = run("--levels", 3, "--steps", 80, "--init", "xavier_normal", "xavier_normal@30")
    good, bad = (json.loads(next(out.glob(f"*-{name}-*/metrics.json")).read_text())["levels"]
                 for name in ("xavier_normal", "xavier_normal@30"))
    losses = [[level["val_loss"][-1] for level in levels] for levels in (good, bad)]
    assert all(b > 100 * g for g, b in zip(*losses)), losses


def test_evaluate_is_a_plain_mean(blobs):
    dataset, model = data.load("mnist", blobs), models.build("fc", (1, 28, 28))
    losses, hits = [], 0
    for x, y in zip(dataset.x_test, dataset.y_test):
        p = model(x[None])[0].double().softmax(0)
        losses.append(-p[y].log().item())
        hits += int(p.argmax() == y)
    loss, accuracy, correct = train.evaluate(model, dataset.x_test, dataset.y_test, chunk=7)
    assert accuracy == hits / 300 == correct.sum() / 300 and abs(loss - sum(losses) / 300) < 1e-5


@pytest.mark.parametrize("control", list(prune.CONTROLS))
def test_a_run_records_what_survival_is_about(run, blobs, control):
    """Diagnostics from the files of a run: masks of two levels, the draw, the bits."""
    if control == "none":
        folder, = run("--rewind", 7).iterdir()
    else:
        run()
        folder, = run("--control", control).glob(f"*-{control}-*")
    metrics = json.loads((folder / "metrics.json").read_text())
    levels = [runs.load_file(folder / f"level_0{k}.pt") for k in range(3)]
    key = prune.CONTROLS[control].key
    w0, _ = train.initial_state(metrics["config"], data.load("mnist", blobs), key)
    if control == "random_mask":  # drawn afresh from the whole layer
        levels = [{**level, "from": levels[0]["masks"]} for level in levels]
    for level, record in zip(levels, metrics["levels"]):
        right = np.unpackbits(level["correct"].numpy(), count=300)
        assert right.sum() / 300 == record["test_acc"][-1]
    for name in ("fc2", "out"):
        w = w0[f"{name}.weight"].abs()
        rows = [record["diagnostics"]["layers"][name] for record in metrics["levels"]]
        assert rows[0]["auroc"] is None
        for before, level, row in zip(levels, levels[1:], rows[1:]):
            choice = level.get("from", before["masks"])[name]
            alive, dead = w[level["masks"][name]], w[choice & ~level["masks"][name]]
            wins = sum((alive > x).sum().item() + (alive == x).sum().item() / 2 for x in dead)
            assert row["auroc"] == pytest.approx(wins / (len(alive) * len(dead)))


def test_provenance_is_noted_once_and_again_where_it_changes(tmp_path):
    run, here = runs.Run(tmp_path, {}), {"commit": "a", "threads": 1, "command": "x"}
    run.metrics = {"provenance": [], "levels": []}
    for origin, levels in ((here, 0), (here | {"command": "y"}, 2), (here | {"threads": 2}, 0)):
        run.metrics["levels"] += [{}] * levels
        run.origin = origin
        run.add_provenance()
    assert run.metrics["provenance"] == [here | {"level": 0}, here | {"threads": 2, "level": 2}]


def content(folder):
    """{file: digest}, the seconds and the lock aside."""
    found = {}
    for path in sorted(folder.glob("*")):
        blob = path.read_bytes()
        if path.name == "metrics.json":
            metrics = json.loads(blob)
            metrics.pop("crc32")  # of the seconds too
            for level in metrics["levels"]:
                level.pop("seconds")
            for row in metrics["provenance"]:
                row.pop("command")
            blob = json.dumps(metrics).encode()
        found[path.name] = hashlib.sha256(blob).hexdigest()
    return found


class Killed(BaseException):
    pass


def test_without_rewinding_too_it_ends_the_same_wherever_it_is_cut(run, monkeypatch, tmp_path):
    """Cut before, within and after each replacement of a file; rerun; every file as if never cut."""
    words = ["--rewind", "none", "--levels", 1, "--steps", 8]
    whole = content(next(run(*words).iterdir()))
    real, writes = data.atomic_write, 2 + 2 * 2
    for cut in range(3 * writes):
        seen = []

        def replace(path, blob):
            moment = cut - 3 * len(seen)
            seen.append(path)
            if moment == 0:
                raise Killed
            if moment == 1:
                path.with_name(path.name + ".tmp").write_bytes(blob[:len(blob) // 2])
                raise Killed
            real(path, blob)
            if moment == 2:
                raise Killed
        out = tmp_path / f"cut{cut}"
        monkeypatch.setattr(runs, "atomic_write", replace)
        with pytest.raises(Killed):
            run(*words, "--out", out)
        monkeypatch.setattr(runs, "atomic_write", real)
        run(*words, "--out", out)
        assert content(next(out.iterdir())) == whole, cut


def test_a_finished_run_returns_and_more_levels_extend_it(run, tmp_path, capsys):
    folder = next(run("--levels", 3).iterdir())
    whole, times = content(folder), {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    run("--levels", 3, "--data-dir", tmp_path / "nowhere")  # not even the data is opened
    assert times == {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert "is finished" in capsys.readouterr().err
    run("--levels", 1, "--out", tmp_path / "b")
    assert content(next(run("--levels", 3, "--out", tmp_path / "b").parent.joinpath("b").iterdir())) == whole


def test_several_runs_are_each_as_if_alone(run, tmp_path):
    run("--init", "kaiming_uniform", "xavier_normal", "--seed", 1, 0, "--out", tmp_path / "all")
    for init in ("kaiming_uniform", "xavier_normal"):
        run("--init", init, "--seed", 1, "--out", tmp_path / "one")
        name = f"mnist-fc-{init}-magnitude-steps40-looks2-s1"
        assert content(tmp_path / "all" / name) == content(tmp_path / "one" / name)
    assert len(list((tmp_path / "all").iterdir())) == 4


def test_other_settings_are_refused_by_name(run, monkeypatch, tmp_path):
    folder = next(run().iterdir())
    before = content(folder)
    monkeypatch.setitem(models.PAPER["fc"], "lr", 0.5)
    with pytest.raises(SystemExit, match="other settings.*lr is 0.0012 there and 0.5 here"):
        run("--levels", 4)
    assert content(folder) == before


def test_names_never_collide(run, monkeypatch):
    parser = train.Parser("")
    train.add_training_flags(parser)
    prune.add_pruning_flags(parser)
    choices = [[], *(line.split() for line in (
        "--scope global", "--rewind 500", "--rewind none", "--epochs 5", "--steps 5", "--epochs 2",
        "--lr 0.1", "--batch 5", "--rate-fc .5", "--rate-out .5", "--input unit", "--preset quick",
        "--preset paper", "--looks 3", "--precision bf16",
        "--one-shot", "--control reinit", "--control shuffle", "--masks-from a-s{seed}"))]
    configs = {}
    for words in [[*a, *b] for a in choices for b in choices]:
        monkeypatch.setattr("sys.argv", ["prune.py", *words])
        try:
            args = train.parse(parser)
        except SystemExit:  # --epochs with --steps
            continue
        for name, settings in train.expand_configs(args, "magnitude"):
            assert configs.setdefault(name, settings) == settings
    assert "mnist-fc-xavier_normal-magnitude-s0" in configs
    assert "mnist-fc-xavier_normal-magnitude-global-rewind500-s0" in configs


def test_a_loss_that_is_no_number_is_recorded(run):
    folder = next(run("--lr", 1e30, "--looks", 4).iterdir())
    levels = json.loads((folder / "metrics.json").read_text())["levels"]
    assert [level["level"] for level in levels] == [0, 1, 2]
    for level in levels:
        assert level["diverged"] and level["train_loss"][-1] is None and len(level["step"]) < 4
    assert [level["kept"]["out"] for level in levels] == [1000, 900, 810]


def test_the_baseline_is_level_0(run, tmp_path, blobs, monkeypatch):
    folder = next(run().iterdir())
    words = ["train.py", "--steps", 40, "--looks", 2, "--data-dir", blobs, "--out", tmp_path / "base"]
    monkeypatch.setattr("sys.argv", list(map(str, words)))
    train.main()
    base, = json.loads(next((tmp_path / "base").glob("*/metrics.json")).read_text())["levels"]
    level = json.loads((folder / "metrics.json").read_text())["levels"][0]
    assert {**base, "seconds": 0} == {**level, "seconds": 0}
    ours, its = (torch.load(path / "level_00.pt", weights_only=True)["state"]
                 for path in (folder, next((tmp_path / "base").iterdir())))
    assert all(torch.equal(ours[name], its[name]) for name in ours)


@pytest.mark.parametrize("words", [[], ["--input", "unit"], ["--precision", "bf16"]])
def test_what_is_recorded_of_a_level_is_what_its_network_does(run, blobs, words):
    """On validation images and on test images, with the pixels and the precision asked for."""
    folder, = run("--steps", 4, *words).iterdir()
    levels = json.loads((folder / "metrics.json").read_text())["levels"]
    images = data.load("mnist", blobs, "cpu", "unit" if "unit" in words else "standard")
    for level in levels:
        model = models.build("fc", (1, 28, 28))
        state = torch.load(folder / f"level_{level['level']:02d}.pt", weights_only=True)["state"]
        model.load_state_dict(state)
        found = {}
        for bf16 in (False, True):
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                for part in ("val", "test"):
                    x, y = getattr(images, f"x_{part}"), getattr(images, f"y_{part}")
                    logits = model(x).float()
                    found[bf16, part] = (F.cross_entropy(logits, y).item(),
                                         (logits.argmax(1) == y).float().mean().item())
        for part in ("val", "test"):
            recorded = level[f"{part}_loss"][-1], level[f"{part}_acc"][-1]
            assert recorded == pytest.approx(found["bf16" in words, part], rel=1e-5)
            assert recorded[0] != pytest.approx(found["bf16" not in words, part][0], rel=1e-5)
        assert found[False, "val"] != pytest.approx(found[False, "test"], rel=1e-3)


CAPABILITIES = {"none": ({}, "fp32"), "avx512_bf16": ({"avx512_bf16": True}, "bf16"),
                "amx_bf16": ({"avx512_bf16": False, "amx_bf16": True}, "bf16"),
                "an older torch, which does not say": (None, "fp32")}


@pytest.mark.parametrize("cpu", CAPABILITIES)
def test_auto_precision_goes_by_the_convolutions_and_the_cpu(monkeypatch, cpu):
    """And float32 is never TF32."""
    capabilities, for_conv = CAPABILITIES[cpu]
    monkeypatch.setitem(models.NETS, "wide", ((), (500,)))
    monkeypatch.setitem(models.PAPER, "wide", models.PAPER["fc"])
    if capabilities is None:
        monkeypatch.delattr(torch.cpu, "get_capabilities")
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    for net, expected in {"fc": "fp32", "wide": "fp32", "conv2": for_conv, "conv": for_conv}.items():
        parser = train.Parser("")
        train.add_training_flags(parser)
        monkeypatch.setattr("sys.argv", ["train.py", "--net", net, "--device", "cpu"])
        assert train.parse(parser).precision == expected, net
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
    name = runs.processor(torch.device("cpu"))
    assert name == f"cpu, {expected}, {torch.backends.cpu.get_cpu_capability()}"


@pytest.mark.parametrize("how", ["signs", "rescaled"])
def test_levels_restart_from_what_the_rewind_says(run, monkeypatch, how):
    starts, real = [], train.train_level

    def spy(run, data, start, masks, *rest):
        starts.append((start, masks))
        return real(run, data, start, masks, *rest)
    monkeypatch.setattr(train, "train_level", spy)
    folder, = run("--rewind", how).iterdir()
    w0 = torch.load(folder / "init.pt", weights_only=True)
    for level, (state, masks) in enumerate(starts):
        for name, mask in masks.items():
            old, new = w0[f"{name}.weight"], state[f"{name}.weight"]
            if level == 0:
                assert torch.equal(new, old)
            elif how == "signs":
                assert new.abs().unique().numel() == 1 and torch.equal(new.sign(), old.sign())
                assert new[0, 0].abs().item() == pytest.approx(old.std().item())
            else:
                assert torch.allclose((new * mask).norm(dim=1), old.norm(dim=1)) and not mask.all()
    assert len(starts) == 3


def test_a_removed_unit_has_no_bias_though_the_level_restarts_from_trained_ones(run):
    folder, = run("--pruner", "filters", "--rewind", "none").iterdir()
    saved = torch.load(folder / "level_02.pt", weights_only=True)
    for name in ("fc1", "fc2"):
        removed = ~saved["masks"][name].any(1)
        assert removed.any() and (saved["state"][f"{name}.bias"] == 0).equal(removed)


def test_every_pruner_runs_to_the_same_counts(run):
    for name, row in pruners.PRUNERS.items():
        scope = "global" if name == "random" else "layer"
        out = run("--pruner", name, "--steps", 10, "--looks", 1, "--scope", scope)
        folder, = out.glob(f"mnist-fc-xavier_normal-{name}-*")
        levels = json.loads((folder / "metrics.json").read_text())["levels"]
        masks = full_masks("fc")
        if row.keep is pruners.keep_weights:
            for level in levels:
                kept = pruners.kept_counts(masks, config(), level["level"])
                assert sum(level["kept"].values()) == sum(kept.values())
        assert [sum(level["kept"].values()) for level in levels] == sorted(
            (sum(level["kept"].values()) for level in levels), reverse=True)


def saved_masks(folder, level):
    return torch.load(folder / f"level_{level:02d}.pt", weights_only=True)["masks"]


def test_one_shot_keeps_as_many_as_the_iterative_level(run):
    iterative, = run("--levels", 3).iterdir()
    folder, = run("--levels", 3, "--one-shot").glob("*oneshot*")
    for level in range(4):
        once, again = saved_masks(folder, level), saved_masks(iterative, level)
        assert all(once[name].sum() == again[name].sum() for name in once)
    first = torch.load(folder / "level_00.pt", weights_only=True)
    expected = pruners.keep_largest(pruners.magnitude(first["state"]), first["masks"],
                                  pruners.kept_counts(first["masks"], config(), 3), "layer")
    assert all(torch.equal(saved_masks(folder, 3)[name], expected[name]) for name in expected)


def test_controls_differ_from_their_run_in_one_thing_and_never_write_to_it(run):
    donor, = run().iterdir()
    before = content(donor)
    for control in list(prune.CONTROLS)[1:]:
        out = run("--control", control)
        folder, = out.glob(f"*-{control}-*")
        init = [torch.load(path / "init.pt", weights_only=True) for path in (donor, folder)]
        assert all(torch.equal(*(state[name] for state in init)) for name in init[0]) == (control != "reinit")
        for level in range(3):
            its, own = saved_masks(donor, level), saved_masks(folder, level)
            assert all(its[name].sum() == own[name].sum() for name in its)
            equal = all(torch.equal(its[name], own[name]) for name in its)
            assert equal == (control == "reinit" or level == 0)
    template = donor.name.replace("s0", "s{seed}")
    swap, = run("--init", "kaiming_uniform", "--masks-from", template).glob("*-from-*")
    assert all(torch.equal(saved_masks(donor, 2)[name], mask) for name, mask in saved_masks(swap, 2).items())
    assert content(donor) == before
    with pytest.raises(SystemExit, match="run it first"):
        run("--control", "reinit", "--levels", 5)


def test_masks_that_do_not_fit_or_are_gone_are_refused_before_anything_is_written(run):
    donor, = run().iterdir()
    for words in (["--seed", 1], ["--rate-fc", 0.5]):
        with pytest.raises(SystemExit, match="of another net, data file, seed or rate"):
            run("--masks-from", donor.name, *words)
    metrics = runs.load_file(donor / "metrics.json")
    runs.save_file(donor / "metrics.json", {**metrics, "config": {**metrics["config"], "data_crc32": 1}})
    with pytest.raises(SystemExit, match="of another net, data file, seed or rate"):
        run("--masks-from", donor.name)
    runs.save_file(donor / "metrics.json", metrics)
    level = donor / "level_01.pt"
    level.write_bytes(level.read_bytes()[:-100])
    for says in ("is damaged", "is gone"):
        with pytest.raises(SystemExit, match=f"level_01.pt {says}.*: delete its folder and run again"):
            runs.run_cli(lambda: run("--control", "shuffle"))
        level.unlink(missing_ok=True)
    assert list(donor.parent.iterdir()) == [donor]


def test_levels_without_checkpoints_are_made_again_and_said_to_be(run, tmp_path, capsys):
    """As of runs that stats.py has brought back."""
    folder, = run().iterdir()
    run("--levels", 3, "--out", tmp_path / "whole")
    whole = content(next((tmp_path / "whole").iterdir()))
    for path in folder.glob("*.pt"):
        path.unlink()
    run("--levels", 3)
    assert f"{folder} lacks a checkpoint: it goes on from level 0 of 2" in capsys.readouterr().err
    assert content(folder) == whole


def test_the_provenance_of_a_level_made_again_is_that_of_its_making(run):
    folder, = run().iterdir()
    metrics = runs.load_file(folder / "metrics.json")
    metrics["provenance"] = [metrics["provenance"][0] | {"commit": "old"}]
    runs.save_file(folder / "metrics.json", metrics)
    for level in (1, 2):
        (folder / f"level_0{level}.pt").unlink()
    run("--levels", 3)
    found = runs.load_file(folder / "metrics.json")["provenance"]
    assert [row["level"] for row in found] == [0, 1]
    assert found[0]["commit"] == "old" != found[1]["commit"]


@pytest.mark.parametrize("script", [train, prune])
def test_a_run_that_another_process_has_finished_since_is_left_alone(blobs, tmp_path, monkeypatch, script):
    """Found unfinished, and finished before its turn came."""
    words = ["--steps", 40, "--looks", 2, "--data-dir", blobs, "--out", tmp_path / "runs"]
    words += ["--levels", 0] if script is prune else []
    monkeypatch.setattr(sys, "argv", [script.__name__, *map(str, words)])
    listed, before = train.pending_runs, []

    def late(*args, **settings):
        pending = listed(*args, **settings)
        with monkeypatch.context() as patch:
            patch.setattr(train, "pending_runs", listed)
            script.main()
        folder, = (tmp_path / "runs").iterdir()
        before.append((folder, content(folder)))
        return pending
    monkeypatch.setattr(train, "pending_runs", late)
    script.main()
    (folder, there), = before
    assert len(runs.load_file(folder / "metrics.json")["levels"]) == 1 and content(folder) == there
