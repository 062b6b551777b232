"""How long a training step takes here, against two other loops and the machine:  python tests/bench.py

(a)  the usual loop, in float32: a data set that turns one image at a time into a normalised tensor, a
     DataLoader, torch.optim.Adam, masks multiplied into the weights at every forward (torch.nn.utils.prune);
(a2) the loop of somebody who knows torch: (a) on tensors, channels-last, with autocast where the row is bf16
     and torch's fused Adam;
(b)  this repository;
(c)  the floor: the multiply-adds of the dense step at the speed of this machine's large float32 products;
(d)  of convolutional nets, the layers alone: their forward and backward products in the row's precision.
Every figure is the median (and range) over repeats in processes of their own, in milliseconds a step of 60
images, real where they are in data/ or $DATA_DIR, else glyphs. About nine minutes on two cores.
"""
import functools
import importlib
import itertools
import multiprocessing
import os
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch.nn.utils import prune
from torch.utils.data import DataLoader
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import data  # noqa: E402
import models  # noqa: E402
import runs  # noqa: E402
import train  # noqa: E402

FOLDER = Path(os.environ.get("DATA_DIR", ROOT / "data"))
CORES = os.cpu_count()
STEPS = {"fc": 300, "conv2": 16, "conv6": 8}
ROWS = [("fc", 1.0, "fp32"), ("fc", 0.107, "fp32"), ("fc", 0.029, "fp32"),  # network, density, precision
        *((net, 1.0, precision) for net in ("conv2", "conv6") for precision in ("fp32", "bf16"))]


def prepared(net, density):
    """(data, network, masks) of a row."""
    name, shape = models.PAPER[net]["data"], models.PAPER[net]["shape"]
    name = name if (FOLDER / f"{name}.npz").exists() else "glyphs"
    loaded, g = data.load(name, FOLDER, colour=shape[0] == 3), torch.Generator().manual_seed(0)
    model = models.build(net, loaded.x_train.shape[1:])
    return loaded, model, {name: torch.rand(layer.weight.shape, generator=g) < density
                           for name, layer in models.layers(model).items()}


def repeats(steps, step):
    """(seconds of each of three repeats of `steps` calls of `step`, after one that does not count; 0; 0)."""
    found = []
    for _ in range(4):
        started = time.perf_counter()
        for _ in range(steps):
            step()
        found.append(time.perf_counter() - started)
    return found[1:], 0, 0


def loop(net, model, masks, batches, precision, steps, **how):
    """`repeats` of a step as people write it: (a) and (a2)."""
    for layer, mask in masks.items():
        prune.custom_from_mask(models.layers(model)[layer], "weight", mask)
    optimizer = torch.optim.Adam(model.parameters(), models.PAPER[net]["lr"], **how)

    def step():
        x, y = next(batches)
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = model(x)
        F.cross_entropy(logits.float(), y).backward()
        optimizer.step()
    return repeats(steps, step)


def usual(net, density, _precision, steps):
    """(a), each image by way of PIL and torchvision's transforms, as torchvision's data sets do it."""
    data.vision()  # torchvision, made to import
    transforms = importlib.import_module("torchvision.transforms")
    tensor = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.25])])
    loaded, model, masks = prepared(net, density)
    with np.load(FOLDER / loaded.file) as arrays:
        x, y = arrays["x_train"], torch.from_numpy(arrays["y_train"].ravel()).long()
    loader = DataLoader(range(len(x)), 60, shuffle=True, collate_fn=lambda rows: (
        torch.stack([tensor(Image.fromarray(x[row])) for row in rows]), y[rows]))
    return loop(net, model, masks, iter(loader), "fp32", steps)


def tuned(net, density, precision, steps):
    """(a2)"""
    loaded, model, masks = prepared(net, density)
    batches = ((loaded.x_train[rows].to(memory_format=torch.channels_last), loaded.y_train[rows])
               for _ in itertools.count() for rows in torch.randperm(len(loaded.x_train)).split(60))
    model = model.to(memory_format=torch.channels_last)
    return loop(net, model, masks, batches, precision, steps, fused=True)


def ours(net, density, precision, steps):
    """(b), from batch to batch, so that building the network and evaluating it do not count: (seconds of each
    repeat, bytes of the data, time of the first batch)."""
    loaded, model, masks = prepared(net, density)
    config = {**train.default_config(net, "study"), "net": net, "seed": 0, "precision": precision}
    train.evaluate = lambda *_: (0.0, 0.0, None)
    batches, stamps = data.batches, []

    def stamped(*words):
        for batch in batches(*words):
            stamps.append(time.time())
            yield batch
    data.batches = stamped
    part = runs.PartialLevel(None, 0, 0, 4 * steps + 1)
    train.train_from(config, loaded, model.state_dict(), masks, part, tqdm(disable=True))
    held = sum(x.numel() * x.element_size() for x in loaded[:6])
    return np.diff(stamps[steps::steps]).tolist(), held, stamps[0]


def product(_net, _density, _precision, steps):
    """(c): `steps` times 10^9 multiply-adds in a large float32 product."""
    a = torch.randn(3072, 3072)
    return [seconds / 3072 ** 3 * 1e9 * steps for seconds in repeats(1, lambda: a @ a)[0]], 0, 0


def called(net, x, dtype):
    """[(layer, its input, its output)] of a forward pass of images x."""
    model, calls = models.build(net, x.shape[1:]).to(dtype=dtype, memory_format=torch.channels_last), []
    for layer in models.layers(model).values():
        layer.register_forward_hook(lambda layer, x, y: calls.append((layer, x[0].detach(), y.detach())))
    model(x.to(dtype=dtype, memory_format=torch.channels_last))
    return calls


def kernels(net, _density, precision, steps):
    """(d), on inputs and gradients that are there already."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    calls = called(net, torch.randn(60, *models.PAPER[net]["shape"]), dtype)
    for _, x, _ in calls[1:]:  # no gradient of the images
        x.requires_grad_()

    def step():
        for layer, x, y in calls:
            wanted = [*layer.parameters(), *([x] if x.requires_grad else [])]
            torch.autograd.grad(layer.forward(x), wanted, y)
    return repeats(steps, step)


def work(net):
    """Multiply-adds of a step on 60 images: forward, gradients of weights, of inputs but the images."""
    counts = [y.numel() * layer.weight[0].numel() for layer, _, y in
              called(net, torch.zeros(1, *models.PAPER[net]["shape"]), torch.float32)]
    return 60 * (3 * sum(counts) - counts[0])


WAYS = {"a": usual, "a2": tuned, "b": ours, "c": product, "d": kernels}


def one(way, row, threads, since):
    """What a process of its own measures: {ms: of each repeat; peak and beside: GiB; first: seconds to step 1
    from the time `since`}."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    steps = STEPS[row[0]] // 4 if (way, row[0]) == ("a", "fc") else STEPS[row[0]]
    seconds, held, first = WAYS[way](*row, steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"ms": [1000 * s / steps for s in seconds], "first": first - since,
            "peak": peak / 2 ** 30, "beside": (peak - held) / 2 ** 30}


def measure(way, row, threads, together=1, rounds=2):
    """As `one`, the ms of all rounds and the largest of the rest. Several processes together have the
    machine's ms: those between one step of any and the next."""
    results = []
    for _ in range(rounds):
        with ProcessPoolExecutor(together, multiprocessing.get_context("spawn")) as pool:
            begun = [pool.submit(one, way, row, threads, time.time()) for _ in range(together)]
            found = [process.result() for process in begun]
        results.append({**found[0], "ms": [1 / sum(1 / ms for ms in repeat)
                                           for repeat in zip(*(result["ms"] for result in found))]})
    return {"ms": sum((result["ms"] for result in results), []),
            **{key: max(result[key] for result in results) for key in ("peak", "beside", "first")}}


@functools.cache
def median_ms(way, row, threads, together=1, rounds=2):
    return statistics.median(measure(way, row, threads, together, rounds)["ms"])


def compare(row, products):
    """Print the table's lines for a network at a density in a precision."""
    net, density, precision = row
    rounds, head = 2 if net == "fc" else 1, f"{net:6s}{density:6.1%} {precision}"
    a, a2 = (median_ms(way, (*row[:2], how), CORES, rounds=rounds)  # (a) has one precision
             for way, how in (("a", "fp32"), ("a2", precision)))
    for way, ms in (("a", a), ("a2", a2)):
        print(f"{head}  ({way:2s}) processes 1, threads {CORES} each {ms:9.3f}", flush=True)
    for (threads, together), ms_of_a_billion in products.items():
        found = measure("b", row, threads, together, rounds)
        ms, least = statistics.median(found["ms"]), ms_of_a_billion * work(net) / 1e9
        alone = median_ms("d", row, threads, together, 1) if net != "fc" else None
        print(f"{head}  (b)  processes {together}, threads {threads} each {ms:9.3f}"
              f"  ({min(found['ms']):.3f}-{max(found['ms']):.3f}) {60000 / ms:7.0f}"
              f"  {a / ms:5.2f} {a2 / ms:5.2f}  {least:8.3f} {least / ms:4.0%}"
              + (f"  {alone:8.3f} {alone / ms:4.0%}" if alone else 15 * " ")
              + f"  {found['peak']:.2f}  {found['beside']:.2f}  {found['first']:.1f}", flush=True)


def main():
    print(f"torch {torch.__version__}, {CORES} cores, {runs.processor(torch.device('cpu'))}\n"
          "net   density way                               ms a step (range)       images/s    a/b  a2/b"
          "        (c)  c/b       (d)  d/b  GiB at peak and beside the data, s to step 1")
    products = {way: median_ms("c", ROWS[0], *way) for way in ((1, 1), (CORES, 1), (1, CORES))}
    for row in ROWS:
        compare(row, products)


if __name__ == "__main__":
    main()
