"""How long a training step takes here, against two other loops and the machine:  python tests/bench.py

(a)  the usual loop, in float32: a data set that turns one image at a time into a normalised tensor, a
     DataLoader, torch.optim.Adam, masks multiplied into the weights at every forward (torch.nn.utils.prune);
(a2) the loop of somebody who knows torch: (a) on tensors, channels-last, with autocast where the row is bf16
     and torch's fused Adam;
(b)  this repository;
(c)  the floor: the multiply-adds of the dense step at the speed of this machine's large float32 products;
(d)  of convolutional nets, the layers alone: their forward and backward products in the row's precision.
Every figure is the median (and range) over repeats in processes of their own, in milliseconds a step of 60
images. Real data where it is in data/ or $DATA_DIR, else glyphs. About eight minutes on two cores.
"""
import argparse
import contextlib
import functools
import importlib
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.nn.utils import prune
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import runs
import data  # noqa: E402
import models  # noqa: E402
import train  # noqa: E402

FOLDER = Path(os.environ.get("DATA_DIR", ROOT / "data"))
CORES = os.cpu_count()
STEPS = {"fc": 300, "conv2": 16, "conv6": 8}
ROWS = [("fc", 1.0, "fp32"), ("fc", 0.107, "fp32"), ("fc", 0.029, "fp32"),  # network, density, precision
        *((net, 1.0, precision) for net in ("conv2", "conv6") for precision in ("fp32", "bf16"))]


class Images(Dataset):
    """As torchvision's data sets do it: one image at a time, by way of PIL and torchvision's transforms."""

    def __init__(self, x, y):
        transforms, channels = importlib.import_module("torchvision.transforms"), 1 if x.ndim == 3 else 3
        self.x, self.y = x, y
        self.transform = transforms.Compose([
            transforms.ToTensor(), transforms.Normalize([0.5] * channels, [0.25] * channels)])

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.transform(Image.fromarray(self.x[i])), int(self.y[i])


def source(net):
    """(name of the data set, colour)"""
    name, colour = models.PAPER[net]["data"], models.PAPER[net]["shape"][0] == 3
    return (name if (FOLDER / f"{name}.npz").exists() else "glyphs"), colour


def drawn(net, shape, density):
    model = models.build(net, shape)
    g = torch.Generator().manual_seed(0)
    return model, {name: torch.rand(layer.weight.shape, generator=g) < density
                   for name, layer in models.layers(model).items()}


def autocast(precision):
    return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def repeats(steps, step):
    """Seconds of each of three repeats of `steps` calls of `step`, after one that does not count."""
    found = []
    for _ in range(4):
        started = time.perf_counter()
        for _ in range(steps):
            step()
        found.append(time.perf_counter() - started)
    return found[1:], 0, 0


def loop(model, masks, batches, optimizer, precision):
    """A step as people write it: (a) and (a2)."""
    for layer, mask in masks.items():
        prune.custom_from_mask(models.layers(model)[layer], "weight", mask)
    optimizer = optimizer(model.parameters())

    def step():
        x, y = next(batches)
        optimizer.zero_grad()
        with autocast(precision):
            logits = model(x)
        F.cross_entropy(logits.float(), y).backward()
        optimizer.step()
    return step


def usual(net, density, precision, steps):
    """Seconds of each repeat of `steps` steps of (a)."""
    data.vision()  # torchvision, made to import
    name, colour = source(net)
    loaded = data.load(name, FOLDER, colour=colour)  # also makes the glyphs
    with np.load(FOLDER / loaded.file) as arrays:
        loader = DataLoader(Images(arrays["x_train"], arrays["y_train"].ravel()), 60, shuffle=True)
    model, masks = drawn(net, loaded.x_train.shape[1:], density)
    adam = functools.partial(torch.optim.Adam, lr=models.PAPER[net]["lr"])
    return repeats(steps, loop(model, masks, iter(loader), adam, "fp32"))


def today(net, density, precision, steps):
    """Seconds of each repeat of `steps` steps of (a2)."""
    name, colour = source(net)
    loaded = data.load(name, FOLDER, colour=colour)
    model, masks = drawn(net, loaded.x_train.shape[1:], density)
    batches = ((loaded.x_train[rows].to(memory_format=torch.channels_last), loaded.y_train[rows])
               for _ in itertools.count() for rows in torch.randperm(len(loaded.x_train)).split(60))
    adam = functools.partial(torch.optim.Adam, lr=models.PAPER[net]["lr"], fused=True)
    return repeats(steps, loop(model.to(memory_format=torch.channels_last), masks, batches, adam, precision))


def kernels(net, _density, precision, steps):
    """Seconds of each repeat of `steps` times (d), on inputs and gradients that are there already."""
    dtype, calls = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision], []
    model = models.build(net, models.PAPER[net]["shape"]).to(dtype=dtype, memory_format=torch.channels_last)
    for layer in models.layers(model).values():
        layer.register_forward_hook(lambda layer, x, y: calls.append((layer, x[0].detach(), y.detach())))
    model(torch.randn(60, *models.PAPER[net]["shape"]).to(dtype=dtype, memory_format=torch.channels_last))
    for _, x, _ in calls[1:]:  # no gradient of the images
        x.requires_grad_()

    def step():
        for layer, x, y in calls:
            wanted = [*layer.parameters(), *([x] if x.requires_grad else [])]
            torch.autograd.grad(layer.forward(x), wanted, y)
    return repeats(steps, step)


def ours(net, density, precision, steps):
    """Seconds of each repeat of `steps` steps of (b), from batch to batch, so that building the network and
    evaluating it do not count; bytes of the data; time of the first batch."""
    name, colour = source(net)
    loaded = data.load(name, FOLDER, colour=colour)
    model, masks = drawn(net, loaded.x_train.shape[1:], density)
    config = {"net": net, "seed": 0, "batch": 60, "lr": models.PAPER[net]["lr"], "looks": 1,
              "precision": precision}
    train.evaluate = lambda *_: (0.0, 0.0, None)
    batches, stamps, seconds = data.batches, [], []

    def stamped(*words):
        for batch in batches(*words):
            stamps.append(time.time())
            yield batch
    data.batches = stamped
    for _ in range(4):
        part = runs.PartialLevel(None, 0, 0, steps + 1)
        train.train_from(config, loaded, model.state_dict(), masks, part, tqdm(disable=True))
        seconds.append(stamps[-1] - stamps[-1 - steps])
    return seconds[1:], sum(x.numel() * x.element_size() for x in loaded[:6]), stamps[0]


def multiply_adds(net):
    """Of the forward pass of one image, by layer."""
    shape, counts = models.PAPER[net]["shape"], []
    model = models.build(net, shape)
    for layer in models.layers(model).values():
        layer.register_forward_hook(lambda layer, _, y: counts.append(y.numel() * layer.weight[0].numel()))
    model(torch.zeros(1, *shape))
    return counts


def work(net):
    """Multiply-adds of a step on 60 images: forward, gradients of weights, of inputs but the images."""
    counts = multiply_adds(net)
    return 60 * (3 * sum(counts) - counts[0])


def product(_net, _density, _precision, steps):
    """Seconds that `steps` times 10^9 multiply-adds take in a large float32 product."""
    a, seconds = torch.randn(3072, 3072), []
    for _ in range(4):
        started = time.perf_counter()
        a @ a
        seconds.append((time.perf_counter() - started) / 3072 ** 3 * 1e9 * steps)
    return seconds[1:], 0, 0


WAYS = {"a": usual, "a2": today, "b": ours, "c": product, "d": kernels}


def start(way, row, threads):
    words = [sys.executable, __file__, "--one", way, *map(str, row), str(threads), str(time.time())]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def one(way, net, density, precision, threads, since):
    """What one process measures, as JSON on its standard output."""
    torch.set_num_threads(int(threads))
    torch.set_flush_denormal(True)
    steps = STEPS[net] // 4 if way == "a" and net == "fc" else STEPS[net]
    seconds, held, first = WAYS[way](net, float(density), precision, steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"ms": [1000 * s / steps for s in seconds], "first": first - float(since),
                      "peak": peak / 2 ** 30, "beside": (peak - held) / 2 ** 30}))


def measure(way, row, threads, together=1, rounds=2):
    """{ms: of all repeats; peak and beside: GiB; first: seconds to step 1}. Several processes together
    have the machine's ms: those between one step of any and the next."""
    results = []
    for _ in range(rounds):
        processes = [start(way, row, threads) for _ in range(together)]
        found = [json.loads(process.communicate()[0]) for process in processes]
        results.append({**found[0], "ms": [1 / sum(1 / ms for ms in repeat)
                                           for repeat in zip(*(result["ms"] for result in found))]})
    return {"ms": sum((result["ms"] for result in results), []),
            **{key: max(result[key] for result in results) for key in ("peak", "beside", "first")}}


@functools.cache
def usual_ms(net, density, rounds):
    """(a) has one precision, so that a network's rows share it."""
    return measure("a", (net, density, "fp32"), CORES, rounds=rounds)["ms"]


def compare(row, products):
    """Print the table's lines for a network at a density in a precision."""
    net, density, precision = row
    rounds, head = 2 if net == "fc" else 1, f"{net:6s}{density:6.1%} {precision}"
    others = {"a": statistics.median(usual_ms(net, density, rounds)),
              "a2": statistics.median(measure("a2", row, CORES, rounds=rounds)["ms"])}
    for way, ms in others.items():
        print(f"{head}  ({way:2s}) processes 1, threads {CORES} each {ms:9.3f}", flush=True)
    for (threads, together), product in products.items():
        found = measure("b", row, threads, together, rounds)
        ms, least = statistics.median(found["ms"]), product * work(net) / 1e9
        alone = statistics.median(measure("d", row, threads, together, 1)["ms"]) if net != "fc" else None
        print(f"{head}  (b)  processes {together}, threads {threads} each {ms:9.3f}"
              f"  ({min(found['ms']):.3f}-{max(found['ms']):.3f}) {60000 / ms:7.0f}"
              f"  {others['a'] / ms:5.2f} {others['a2'] / ms:5.2f}  {least:8.3f} {least / ms:4.0%}"
              + (f"  {alone:8.3f} {alone / ms:4.0%}" if alone else 15 * " ")
              + f"  {found['peak']:.2f}  {found['beside']:.2f}  {found['first']:.1f}", flush=True)


def main():
    print(f"torch {torch.__version__}, {CORES} cores, {runs.processor(torch.device('cpu'))}")
    print("net   density way                               ms a step (range)       images/s    a/b  a2/b"
          "        (c)  c/b       (d)  d/b  GiB at peak and beside the data, s to step 1")
    ways = dict.fromkeys([(1, 1), (CORES, 1), (1, CORES)])
    products = {way: statistics.median(measure("c", ROWS[0], *way)["ms"]) for way in ways}  # ms for 10^9
    for row in ROWS:
        compare(row, products)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=6, help=argparse.SUPPRESS)
    words = parser.parse_args().one
    one(*words) if words else main()
