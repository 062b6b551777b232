"""How long a training step takes here, against the usual loop and against the machine:  python tests/bench.py

(a) the usual loop: a data set that turns one image at a time into a normalised tensor, a DataLoader,
    torch.optim.Adam, masks multiplied into the weights at every forward;
(b) this repository;
(c) the floor: the multiply-adds of the dense step at the speed of this machine's large float32 products.
Every figure is the median (and range) over repeats in processes of their own, in milliseconds a step of 60
images. Real data where it is in data/ or $DATA_DIR, else glyphs. Under five minutes on two cores.
"""
import argparse
import importlib
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
import data  # noqa: E402
import models  # noqa: E402
import train  # noqa: E402

FOLDER = Path(os.environ.get("DATA_DIR", ROOT / "data"))
CORES = os.cpu_count()
STEPS = {"fc": 300, "conv2": 12, "conv6": 8}
DENSITIES = {"fc": (1.0, 0.107, 0.029), "conv2": (1.0,), "conv6": (1.0,)}


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


def usual(net, density, steps):
    """Seconds of each repeat of `steps` steps of (a)."""
    data.vision()  # torchvision, made to import
    name, colour = source(net)
    loaded = data.load(name, FOLDER, colour=colour)  # also makes the glyphs
    with np.load(FOLDER / loaded.file) as arrays:
        loader = DataLoader(Images(arrays["x_train"], arrays["y_train"].ravel()), 60, shuffle=True)
    model, masks = drawn(net, loaded.x_train.shape[1:], density)
    for layer, mask in masks.items():
        prune.custom_from_mask(models.layers(model)[layer], "weight", mask)
    optimizer = torch.optim.Adam(model.parameters(), models.PAPER[net]["lr"])
    batches, repeats = iter(loader), []
    for _ in range(4):
        started = time.perf_counter()
        for _ in range(steps):
            x, y = next(batches)
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        repeats.append(time.perf_counter() - started)
    return repeats[1:], 0, 0


def ours(net, density, steps):
    """Seconds of each repeat of `steps` steps of (b), not evaluating, bytes of the data, time of step 1."""
    torch.set_flush_denormal(True)
    name, colour = source(net)
    loaded = data.load(name, FOLDER, colour=colour)
    model, masks = drawn(net, loaded.x_train.shape[1:], density)
    config = {"net": net, "seed": 0, "batch": 60, "lr": models.PAPER[net]["lr"], "looks": 1,
              "precision": "fp32"}
    train.evaluate = lambda *_: (0.0, 0.0, None)
    repeats, first = [], None
    for length in (1, steps, steps, steps):
        started = time.perf_counter()
        train.from_state(config, loaded, model.state_dict(), masks, 0, 0, length, tqdm(disable=True))
        repeats.append(time.perf_counter() - started)
        first = first or time.time()
    return repeats[1:], sum(x.numel() * x.element_size() for x in loaded[:6]), first


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


def product(_net, _density, steps):
    """Seconds that `steps` times 10^9 multiply-adds take in a large float32 product."""
    a, repeats = torch.randn(3072, 3072), []
    for _ in range(4):
        started = time.perf_counter()
        a @ a
        repeats.append((time.perf_counter() - started) / 3072 ** 3 * 1e9 * steps)
    return repeats[1:], 0, 0


WAYS = {"a": usual, "b": ours, "c": product}


def start(way, net, density, threads):
    words = [sys.executable, __file__, "--one", way, net, str(density), str(threads), str(time.time())]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def one(way, net, density, threads, since):
    """What one process measures, as JSON on its standard output."""
    torch.set_num_threads(int(threads))
    steps = STEPS[net] // 4 if way == "a" and net == "fc" else STEPS[net]
    seconds, held, first = WAYS[way](net, float(density), steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"ms": [1000 * s / steps for s in seconds], "first": first - float(since),
                      "peak": peak / 2 ** 30, "beside": (peak - held) / 2 ** 30}))


def measure(way, net, density, threads, together=1, rounds=2):
    """{ms: of all repeats; peak and beside: GiB; first: seconds to step 1}. Several processes together
    have the machine's ms: those between one step of any and the next."""
    results = []
    for _ in range(rounds):
        processes = [start(way, net, density, threads) for _ in range(together)]
        found = [json.loads(process.communicate()[0]) for process in processes]
        results.append({**found[0], "ms": [1 / sum(1 / ms for ms in repeat)
                                           for repeat in zip(*(result["ms"] for result in found))]})
    return {"ms": sum((result["ms"] for result in results), []),
            **{key: max(result[key] for result in results) for key in ("peak", "beside", "first")}}


def compare(net, density, products):
    """Print the table's rows for a network at a density."""
    rounds = 2 if net == "fc" else 1
    usual = statistics.median(measure("a", net, density, CORES, rounds=rounds)["ms"])
    print(f"{net:6s}{density:6.1%}  (a) usual loop, threads {CORES}{'':11s}{usual:9.3f}", flush=True)
    for (threads, together), product in products.items():
        found = measure("b", net, density, threads, together, rounds)
        ms, least = statistics.median(found["ms"]), product * work(net) / 1e9
        print(f"{net:6s}{density:6.1%}  (b) processes {together}, threads {threads} each  {ms:9.3f}"
              f"  ({min(found['ms']):.3f}-{max(found['ms']):.3f}) {60000 / ms:7.0f}  {usual / ms:5.2f}"
              f"  (c) {least:.3f}  {least / ms:4.0%}  {found['peak']:.2f}  {found['beside']:.2f}"
              f"  {found['first']:.1f}", flush=True)


def main():
    print(f"torch {torch.__version__}, {CORES} cores")
    print("net   density way                           ms a step (range)  images/s    a/b  floor, ms"
          "  c/b   GiB at peak and beside the data, s to step 1")
    ways = dict.fromkeys([(1, 1), (CORES, 1), (1, CORES)])
    products = {way: statistics.median(measure("c", "fc", 1.0, *way)["ms"]) for way in ways}  # ms for 10^9
    for net, densities in DENSITIES.items():
        for density in densities:
            compare(net, density, products)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    words = parser.parse_args().one
    one(*words) if words else main()
