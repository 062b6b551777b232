"""A GPU against the CPU, and against itself:  CUDA_TESTS=1 python -m pytest -n 0 tests/test_cuda.py"""
import pytest
import torch

import data as datasets
import models
import prune
import pruners
import runs
import train
from conftest import digest, steps_of
from test_faults import cut_at_step
from test_prune import config, images, same

DEVICE = "cuda"
NETS = ("fc", "conv2")
FLAGS = ("--levels", 1, "--device", DEVICE, "--precision", "fp32")
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU, or CUDA_TESTS=1 is not set")


def on_device(data):
    """The same images and labels, on the GPU."""
    return datasets.Data(*(part.to(DEVICE) for part in data[:6]), *data[6:])


@pytest.fixture(autouse=True)
def configured():
    train.configure_torch(1)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("precision, apart", [("fp32", 1e-3), ("bf16", 0.1)])
def test_sixty_steps_have_the_losses_of_the_cpu(net, precision, apart):
    """Nearly: weights drift apart where a gradient is rounding and Adam's step is not."""
    settings = config(net, looks=40, precision=precision)
    losses = []
    for data in (images(net), on_device(images(net))):
        state, _ = train.initial_state(settings, data)
        _, curves, _ = train.train_from(settings, data, state, models.dense_masks(state), *steps_of(0, 0, 60))
        losses.append(torch.tensor(curves["train_loss"]))
    torch.testing.assert_close(*losses, rtol=apart, atol=apart)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("scope", prune.SCOPES)
@pytest.mark.parametrize("pruner", pruners.PRUNERS)
def test_masks_are_those_of_the_cpu(net, scope, pruner):
    """Of one state; but for the weights whose scores are equal but for rounding, one in a thousand."""
    settings = config(net, pruner=pruner, scope=scope, rate_conv=0.2)
    w0, _ = train.initial_state({**settings, "seed": 1}, images(net))
    state, _ = train.initial_state(settings, images(net))
    dense = models.dense_masks(w0)
    here, there = (pruners.next_masks(dense, state, w0, settings, data, 3)
                   for data in (images(net), on_device(images(net))))
    if pruner in ("snip", "grasp", "synflow"):
        apart = sum(int((here[name] != there[name]).sum()) for name in here)
        assert apart <= sum(mask.numel() for mask in here.values()) / 1000
        assert sum(map(torch.sum, here.values())) == sum(map(torch.sum, there.values()))
    else:
        assert same(here, there)


@pytest.mark.parametrize("net", NETS)
def test_the_same_command_gives_the_same_numbers_killed_or_not(run, tmp_path, monkeypatch, net):
    """Every file; cut in the middle of level 1 and continued."""
    flags, folders = [*FLAGS, "--net", net, "--data", "glyphs", "--steps", 20], []
    for out in ("a", "b", "c"):
        if out == "c":
            cut_at_step(monkeypatch, 30, lambda: run(*flags, "--out", tmp_path / "c"))
        run(*flags, "--out", tmp_path / out)
        folders.append(next((tmp_path / out).iterdir()))
    whole, again, resumed = map(digest, folders)
    assert whole == again == resumed


def test_a_hundred_steps_wait_for_nothing(monkeypatch):
    """No step copies to the host or asks the GPU for a number; only an evaluation does."""
    data, settings, real = images("conv2", n=6600), config("conv2", looks=1, batch=60), train.adam_step
    data = on_device(data)
    state, _ = train.initial_state(settings, data)

    def watched(*args):
        real(*args)
        torch.cuda.set_sync_debug_mode("error")

    def evaluated(*args):
        torch.cuda.set_sync_debug_mode("default")
        return 0.0, 0.0, torch.zeros(1)
    monkeypatch.setattr(train, "adam_step", watched)
    monkeypatch.setattr(train, "evaluate", evaluated)
    try:
        train.train_from(settings, data, state, models.dense_masks(state), *steps_of(0, 0, 100))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("net", NETS)
def test_a_run_begun_on_the_gpu_is_continued_on_the_cpu(run, tmp_path, monkeypatch, capsys, net):
    """A level of it, and the middle of one: nothing is called damaged."""
    flags = ["--net", net, "--data", "glyphs", "--steps", 20, "--precision", "fp32", "--rate-fc", 0.9]
    cut_at_step(monkeypatch, 30, lambda: run(*flags, "--levels", 2, "--device", DEVICE))
    folder = next(run(*flags, "--levels", 2, "--device", "cpu").iterdir())
    metrics = runs.load_file(folder / "metrics.json")
    assert len(metrics["levels"]) == 3 and len({row["device"] for row in metrics["provenance"]}) == 2
    assert "is damaged" not in capsys.readouterr().err
