"""Train a network from an initialization scheme: an unpruned baseline here, a level of prune.py there.

    python train.py --net fc --init xavier_normal --seed 0
"""
import argparse
import contextlib
import fcntl
import functools
import importlib.util
import io
import json
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils import prune
from torch.optim.adam import adam as functional_adam
from tqdm import tqdm

import data as datasets
import inits
import models

# epochs a level (None: the iterations of models.PAPER), rounds of pruning, evaluations an epoch
PRESETS = {
    "quick": {"epochs": 1, "levels": 5, "looks": 2},
    "study": {"epochs": 5, "levels": 20, "looks": 3},
    "paper": {"epochs": None, "levels": 20, "looks": 2},
}
CURVES = ("step", "train_loss", "val_loss", "val_acc", "test_loss", "test_acc")
SAVE = 60  # seconds of training between two saves of a level under way
BUSY = 75  # exit code where all that is left to do is in other processes' hands: EX_TEMPFAIL of sysexits.h


class Damaged(Exception):
    """A file that can't be what was written to it."""


class Busy(Exception):
    """Another process holds the lock of a run."""


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM, whose number is the argument."""


class Parser(argparse.ArgumentParser):
    """One sentence for a wrong flag, and below the flags a line for each choice of a table."""

    def __init__(self, description):
        super().__init__(description=description, epilog="", formatter_class=argparse.RawTextHelpFormatter)

    def error(self, message):
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (--help lists the flags)\n")

    def list(self, flag, lines):
        """Append the choices of `flag`, {name: what it is}, to the help."""
        self.epilog += f"{flag}:\n" + "".join(f"  {name:18} {text}\n" for name, text in lines.items()) + "\n"


def number(kind, low, high=math.inf):
    """An argparse type: a `kind` (int or float) in [low, high]."""
    def convert(text):
        value = kind(text)
        if not low <= value <= high or value == math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not in [{low}, {high}]")
        return value
    convert.__name__ = kind.__name__  # argparse names it where the text is no number at all
    return convert


def add_args(parser):
    """The flags that train.py and prune.py share. What is left out comes from the preset and models.PAPER."""
    add, budget = parser.add_argument, parser.add_mutually_exclusive_group()
    add("--net", default="fc", choices=[*models.NETS, *models.ALIASES], help="fc: LeNet-300-100; conv: conv6")
    add("--init", nargs="+", default=["xavier_normal"], type=inits.scheme, metavar="INIT",
        help="one or more of those below, with a gain if wanted: xavier_normal@0.5")
    parser.list("--init", {name: f"{row.about} ({row.reference})" for name, row in inits.INITS.items()})
    add("--seed", nargs="+", type=number(int, 0), default=[0], help="one or more; fixes draws and batches")
    add("--preset", default="study", choices=PRESETS, help="epochs a level, rounds, looks: " + ", ".join(
        f"{name} {row['epochs'] or 'the paper'}, {row['levels']}, {row['looks']}"
        for name, row in PRESETS.items()))
    add("--data", choices=datasets.DATASETS, help="mnist for fc, cifar10 for conv nets; glyphs is a stand-in")
    budget.add_argument("--epochs", type=number(int, 1), help="epochs a level (preset's)")
    budget.add_argument("--steps", type=number(int, 1), help="iterations a level, instead of epochs")
    add("--looks", type=number(int, 1), help="evaluations an epoch on validation and test images (preset's)")
    add("--batch", type=number(int, 1), help="images a step (60)")
    add("--lr", type=number(float, 0), help="Adam's learning rate (the paper's for the net)")
    add("--input", choices=datasets.SCALINGS, help="pixels of mean 0 and std 1, or in [0, 1]")
    add("--precision", default="auto", choices=["auto", "fp32", "bf16"],
        help="bf16: autocast; auto: that for conv nets if the processor multiplies bf16 natively, else fp32")
    add("--data-dir", type=Path, default=os.environ.get("DATA_DIR", "data"), help="of <data>.npz ($DATA_DIR)")
    add("--out", type=Path, default="runs", help="where the run folders go")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1")
    add("--threads", type=number(int, 1, 1024), default=torch.get_num_threads(),
        help="CPU threads of this process")
    add("--tensorboard", action="store_true", help="write the same numbers for TensorBoard")


def parse(parser):
    """The arguments, with net and data resolved; what this machine can't do is refused here."""
    args = parser.parse_args()
    args.net = models.ALIASES.get(args.net, args.net)
    args.data = args.data or models.PAPER[args.net]["data"]
    if args.tensorboard and not importlib.util.find_spec("tensorboard"):
        parser.error("--tensorboard needs the package tensorboard: pip install tensorboard")
    try:
        args.device = torch.empty(0, device=args.device).device
        if args.device.type not in ("cpu", "cuda"):
            raise RuntimeError
    except (RuntimeError, AssertionError, ImportError):
        parser.error(f"this machine has no device {args.device}: leave out --device")
    if args.precision == "auto":
        convolutions = models.NETS[args.net][0]
        args.precision = "bf16" if convolutions and multiplies_bf16(args.device) else "fp32"
    torch.set_float32_matmul_precision("highest")  # so that float32 is float32 on a GPU too, and not TF32
    torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)  # idle weights' moments fade into numbers that cost a hundred times more
    return args


def multiplies_bf16(device):
    """Whether a device has instructions for products of bfloat16 and does not emulate them."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    can = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch does not tell
    return can.get("avx512_bf16", False) or can.get("amx_bf16", False)


def settings(args, pruner):
    """[(run name, config)], one for each seed and scheme. `config` is all that changes numbers; the name is a
    function of it, with what differs from the preset appended in a fixed order."""
    paper, preset = models.PAPER[args.net], PRESETS[args.preset]
    plain = {"scope": "layer", "one_shot": False, "rewind": 0, "control": None, "masks_from": None,
             "epochs": preset["epochs"], "steps": None if preset["epochs"] else paper["steps"],
             "looks": preset["looks"], "batch": models.BATCH, "lr": paper["lr"], "input": "standard",
             "precision": "fp32", **{f"rate_{kind}": rate for kind, rate in paper["rates"].items()}}
    given = {key: value for key, value in vars(args).items() if key in plain and value is not None}
    if "epochs" in given or "steps" in given:
        given = {"epochs": None, "steps": None, **given}
    chosen = {**plain, **given}

    def named(init, seed, *without):
        extras = ["" if args.preset == "study" else f"-{args.preset}"] + [
            f"-{label(key, value)}" for key, value in chosen.items()
            if value not in (plain[key], None) and key not in without]
        return f"{args.data}-{args.net}-{init}-{pruner}{''.join(extras)}-s{seed}"

    runs = []
    for seed in dict.fromkeys(args.seed):
        for init in dict.fromkeys(args.init):
            donor = chosen["masks_from"] or (chosen["control"] and named(init, seed, "control"))
            donor = donor and donor.replace("{init}", init).replace("{seed}", str(seed))
            runs.append((named(init, seed), {
                "data": args.data, "net": args.net, "init": init, "pruner": pruner, "seed": seed,
                "preset": args.preset, **chosen, "masks_from": donor}))
    return runs


def label(key, value):
    """How a setting shows in a run's name; of a donor's name, what its seeds have in common."""
    if key == "masks_from":
        return "from-" + value.replace("-s{seed}", "").replace("{init}-", "")
    return {"rewind": f"rewind{value}", "one_shot": "oneshot"}.get(
        key, value if isinstance(value, str) else f"{key.replace('_', '')}{value}")


def steps_an_epoch(config, data):
    return len(data.x_train) // config["batch"]


def budget(config, data):
    """The step at which a level ends."""
    return config["steps"] or config["epochs"] * steps_an_epoch(config, data)


def first_step(config):
    """The step at which a level starts: the one its weights are rewound to."""
    return config["rewind"] if isinstance(config["rewind"], int) else 0


def processor(device):
    """The model of the GPU, or of the CPU with its vector instructions. Another model rounds differently."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    path = Path("/proc/cpuinfo")  # of Linux: a paragraph a core
    lines = path.read_text().split("\n\n")[0].splitlines() if path.exists() else []
    info = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = info.get("model name") or platform.processor() or platform.machine()
    numbers = f" family {info['cpu family']} model {info['model']}" if "cpu family" in info else ""
    return f"cpu, {name}{numbers}, {torch.backends.cpu.get_cpu_capability()}"


def provenance(args, data):
    """What is no setting, for a reader who wonders why numbers changed: with another model of processor,
    torch or number of threads, those of a seed agree at first, and later differ as two seeds do."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    known = shutil.which("git") and subprocess.run(git, capture_output=True, text=True).stdout.strip()
    return {"commit": known or "unknown",
            "python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
            "device": processor(args.device),
            "threads": args.threads, "precision": args.precision, "data_file": data.file,
            "command": " ".join(["python", *sys.argv])}


def note(metrics, here):
    """Add provenance `here` to a run's, and the level it starts at, if it is not that of the level before."""
    aside = {"level": len(metrics["levels"]), "command": here["command"]}
    if not metrics["provenance"] or {**metrics["provenance"][-1], **aside} != {**here, **aside}:
        metrics["provenance"].append({**here, **aside})


def replace(path, content):
    """Write `content` (bytes) so that `path` holds all of it or is as it was."""
    partial = path.with_name(path.name + ".tmp")
    try:
        partial.write_bytes(content)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())  # before its name is, so that a power cut leaves no empty file
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path))


def save(path, value):
    """Write a dict, as JSON or as a .pt for torch.load(weights_only=True). Equal values give equal bytes.
    JSON has a last key "crc32", of itself without it."""
    if path.suffix == ".json":
        crc32 = zlib.crc32(json.dumps(value, allow_nan=False).encode())
        return replace(path, json.dumps({**value, "crc32": crc32}).encode())
    buffer = io.BytesIO()  # to a path, torch.save writes its name too, and a full disk is a RuntimeError
    torch.save(value, buffer)
    replace(path, buffer.getvalue())


def fits(value, like):
    """Whether nested dicts, lists and tensors are of the same keys, lengths, shapes and types."""
    if isinstance(like, torch.Tensor):
        return isinstance(value, torch.Tensor) and (value.shape, value.dtype) == (like.shape, like.dtype)
    if type(value) is not type(like):
        return False
    if isinstance(like, dict):
        return value.keys() == like.keys() and all(fits(value[key], like[key]) for key in like)
    return not isinstance(like, list) or len(value) == len(like) and all(map(fits, value, like))


def load(path, like=None):
    """What `save` wrote, as it fits `like`. Raises OSError (FileNotFoundError) where it cannot be read, and
    Damaged: every byte that counts is under a checksum, in a .pt that of its zip archive, which torch.load
    does not look at. Nor does it read a member that is marked as a folder."""
    content = path.read_bytes()
    try:
        if path.suffix == ".json":
            value = json.loads(content)
            crc32 = value.pop("crc32", None)
            whole = crc32 == zlib.crc32(json.dumps(value).encode())
        else:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                whole = not archive.testzip() and not any(row.external_attr for row in archive.infolist())
            value = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu") if whole else None
    except Exception as error:  # what a reader raises on any bytes at all is in no list
        raise Damaged(f"{path} is damaged ({type(error).__name__})")
    if not whole or like is not None and not fits(value, like):
        raise Damaged(f"{path} is damaged ({'not what belongs there' if whole else 'checksum'})")
    return value


def check(folder, config):
    """Metrics of a run so far ({} for a new one); refuse those of a run under other settings."""
    path = folder / "metrics.json"
    metrics = load(path) if path.exists() else {}
    there = metrics.get("config", config)
    differ = [f"{key} is {there.get(key)} there and {value} here" for key, value in config.items()
              if there.get(key) != value]
    if differ:
        raise SystemExit(f"{folder} has other settings ({', '.join(differ)}): choose another --out")
    return metrics


def unfinished(args, pruner, levels):
    """[(folder, config)] of the runs that `args` asks for and that do not have levels 0 to `levels` yet."""
    asked = [(args.out / name, config) for name, config in settings(args, pruner)]
    todo = [(folder, config) for folder, config in asked
            if len(check(folder, config).get("levels", [])) <= levels]
    for folder in sorted({folder for folder, _ in asked} - {folder for folder, _ in todo}):
        print(f"{folder} is finished", file=sys.stderr)
    return todo


def open_data(args, todo):
    """The data set of the runs `todo`, on the device of `args`; its checksum goes into their configs."""
    _, config = todo[0]
    data = datasets.load(args.data, args.data_dir, args.device, config["input"],
                         colour=models.PAPER[args.net]["shape"][0] == 3)
    batch, side = config["batch"], min(data.x_train.shape[2:])
    if batch > len(data.x_train):
        raise SystemExit(f"--batch {batch} is above the {len(data.x_train)} training images: take less")
    if side < models.least_side(args.net):
        raise SystemExit(f"images {side} pixels wide are too small for {args.net}: choose another --net")
    for _, config in todo:
        config["data_crc32"] = data.crc32
    return data


@contextlib.contextmanager
def open_run(args, folder, config, data, levels):
    """Lock a run's folder for a `with`: (its metrics, a bar of the steps to the end of `levels`)."""
    steps = budget(config, data) - first_step(config)
    if steps <= 0:
        raise SystemExit(f"--rewind {config['rewind']} leaves nothing to train of a level's "
                         f"{budget(config, data)} steps: choose an earlier step")
    check(folder, config)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel frees it however the process ends
        except BlockingIOError:
            raise Busy(f"{folder}: another process is on this run; it was left alone")
        except OSError as error:
            raise SystemExit(f"{folder}: no lock to be had there ({error.strerror}); choose another --out")
        metrics = check(folder, config) or {"config": config, "provenance": [], "levels": []}
        note(metrics, provenance(args, data))
        done = steps * len(metrics["levels"])
        with tqdm(desc=folder.name, total=steps * (levels + 1), initial=done, unit="step", smoothing=0,
                  dynamic_ncols=True, position=int(os.environ.get("RUN_ALL_SLOT", 0)),
                  disable=not (sys.stderr and sys.stderr.isatty())) as bar:
            yield metrics, bar


def begin(folder, metrics):
    """Write down what a run is before its first level, so that nothing else goes on in its folder."""
    if not metrics["levels"]:
        save(folder / "metrics.json", metrics)


def each_run(args, todo, data, levels, work):
    """Do work(folder, config, metrics, bar) in every open_run of `todo` that nobody has finished since; leave
    the busy ones and say so."""
    code = 0
    for folder, config in todo:
        try:
            with open_run(args, folder, config, data, levels) as (metrics, bar):
                if len(metrics["levels"]) <= levels:
                    work(folder, config, metrics, bar)
        except Busy as busy:
            print(busy, file=sys.stderr)
            code = BUSY
    if code:
        sys.exit(code)


def tensorboard(folder, record):
    """The curves of a level as TensorBoard scalars, in <folder>/tensorboard."""
    from torch.utils.tensorboard import SummaryWriter
    with SummaryWriter(folder / "tensorboard") as writer:
        for name in CURVES[1:]:
            for step, value in zip(record["step"], record[name]):
                value = math.nan if value is None else value
                writer.add_scalar(f"{name}/level_{record['level']:02d}", value, step)


@torch.no_grad()  # under inference_mode autocast casts the weights anew for every chunk
def evaluate(model, x, y, chunk=60):
    """(mean loss in nats, accuracy in [0, 1], which are right, (N,) bool) of x (N, C, H, W) and y (N,)."""
    loss, correct = 0, []
    for images, labels in zip(x.split(chunk), y.split(chunk)):  # a chunk's activations stay in the cache
        logits = model(images).float()
        loss += F.cross_entropy(logits, labels, reduction="sum")
        correct.append(logits.argmax(1) == labels)
    correct = torch.cat(correct)
    return loss.item() / len(y), correct.sum().item() / len(y), correct


def moments(parameters):
    """Adam's state before its first step."""
    return {"first": [torch.zeros_like(p) for p in parameters],
            "second": [torch.zeros_like(p) for p in parameters],
            "steps": [torch.zeros((), device=p.device) for p in parameters]}


@torch.no_grad()
def adam(parameters, gradients, first, second, steps, lr):
    """A step of Adam in place: torch.optim.Adam's own without the class around it, whose bookkeeping costs a
    small network as much again."""
    # the fused kernel reads memory in order and never asks whether the strides of the two agree
    gradients = [g if g.stride() == p.stride() else torch.empty_like(p).copy_(g)
                 for g, p in zip(gradients, parameters)]
    functional_adam(parameters, gradients, first, second, [], steps, lr=lr, beta1=0.9, beta2=0.999, eps=1e-8,
                    weight_decay=0.0, amsgrad=False, maximize=False, fused=True)


@contextlib.contextmanager
def held():
    """Within this, SIGINT and SIGTERM are put into a list, which is given; at its end the first one acts."""
    came, numbers = [], (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: came.append(number)) for number in numbers]
    try:
        yield came
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def underway(there, now, at):
    """Whether `there` is a state of the level that `now` is the first one of, its looks the steps `at`."""
    if not isinstance(there, dict) or not fits(there, {**now, "curves": there.get("curves")}):
        return False
    curves, (_, start, stop) = there["curves"], now["part"]
    looks = [step for step in sorted(at) if step <= there["step"]]
    numbers = isinstance(curves, dict) and list(curves) == list(CURVES) and all(
        isinstance(values, list) and len(values) == len(looks)
        and {type(value) for value in values} <= {int, float, type(None)} for values in curves.values())
    return (numbers and curves["step"] == looks and start <= there["step"] <= stop
            and there["last"] == [start, *looks][-1])


def pick_up(path, now, at):
    """Bring `now`, a level's state in memory, to what `path` holds of the same part of a run, if any."""
    try:
        there = load(path)
        part = there.get("part") if isinstance(there, dict) else None
        if fits(part, now["part"]) and part != now["part"]:
            return
        if not underway(there, now, at):
            raise Damaged(f"{path} is damaged (not what belongs there)")
    except FileNotFoundError:
        return
    except Damaged as damage:
        print(f"{damage}: the level starts again", file=sys.stderr)
        return
    for key, value in now["tensors"].items():
        for own, saved in zip(value, there["tensors"][key]):
            own.copy_(saved)
    now.update({key: there[key] for key in ("step", "last", "curves")})


def train(model, masks, data, config, level, start, stop, bar, path=None):
    """Train `model` on steps [start, stop) of a level with a fresh Adam: {name of CURVES: an entry a look},
    and "correct", which test images the last look found right, (N,) bool.

    Only what `masks` ({layer: 0/1 float tensor}) keeps gets a gradient, so that weights outside them, which
    start at 0, stay exactly 0. A loss that is no number ends the training at that look, as None. What has
    been done is saved to `path` every SAVE seconds and at a signal, and picked up from there.
    """
    looks = round(config["looks"] * (stop - start) / steps_an_epoch(config, data))
    looks = min(max(1, looks), stop - start)
    at = {stop - (stop - start) * i // looks for i in range(looks)}
    names, parameters = zip(*model.named_parameters())
    pruned = {f"{name}.weight": mask for name, mask in masks.items() if not mask.all()}
    masked = [(i, pruned[name]) for i, name in enumerate(names) if name in pruned]
    precision = (torch.autocast(data.x_train.device.type, torch.bfloat16) if config["precision"] == "bf16"
                 else contextlib.nullcontext())
    optimizer, total = moments(parameters), torch.zeros((), device=data.x_train.device)
    now = {"part": [level, start, stop], "step": start, "last": start,  # the step and the look last done
           "curves": {name: [] for name in CURVES},
           "tensors": {"weights": [p.detach() for p in parameters], **optimizer, "total": [total]}}
    if path:
        pick_up(path, now, at)
    curves, correct, due = now["curves"], None, time.monotonic() + SAVE
    bar.update(now["last"] - start)
    batches = datasets.batches(data, config["seed"], level, config["batch"], now["step"], stop)
    with held() as signals:
        for step, (x, y) in enumerate(batches, now["step"] + 1):
            with precision:
                logits = model(x)
            loss = F.cross_entropy(logits.float(), y)  # nats
            gradients = torch.autograd.grad(loss, parameters)
            for i, mask in masked:
                gradients[i].mul_(mask)
            adam(parameters, gradients, **optimizer, lr=config["lr"])
            total += loss.detach()
            if step in at:
                with precision:
                    *val, _ = evaluate(model, data.x_val, data.y_val)
                    *test, correct = evaluate(model, data.x_test, data.y_test)
                look = (step, total.item() / (step - now["last"]), *val, *test)
                for name, value in zip(CURVES, look):
                    curves[name].append(value if math.isfinite(value) else None)
                bar.set_postfix_str(f"val {look[3]:.2%}", refresh=False)
                bar.update(step - now["last"])
                total.zero_()
                now["last"] = step
                if None in (curves["train_loss"][-1], curves["val_loss"][-1]):
                    break
            if path and step < stop and (signals or time.monotonic() > due):
                save(path, {**now, "step": step})
                due = time.monotonic() + SAVE
            if signals:
                break
    return {**curves, "correct": correct}


def masked(config, data, state, masks):
    """A fresh network of `state`, 0 where `masks` keeps nothing, on the device of `data`.

    State is {parameter name: tensor} and masks {layer: bool tensor}, on the CPU, dense names.
    """
    model = models.build(config["net"], tuple(data.x_train.shape[1:]))
    model.load_state_dict(state)
    for name, layer in models.layers(model).items():
        prune.custom_from_mask(layer, "weight", masks[name])
        prune.remove(layer, "weight")  # weight = weight_orig * weight_mask for good, not at every forward
    return model.to(data.x_train.device, memory_format=torch.channels_last)  # of the convolutions


def from_state(config, data, state, masks, level, start, stop, bar, path=None):
    """Train a fresh network from `state` under `masks` on steps [start, stop), or what is left of them by
    `path`: (its state, its curves)."""
    model = masked(config, data, state, masks)
    floats = {name: torch.empty_like(layer.weight).copy_(masks[name])
              for name, layer in models.layers(model).items()}
    if config["precision"] == "fp32":
        models.sparsify(model, masks)
    curves = train(model, floats, data, config, level, start, stop, bar, path)
    models.densify(model)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, curves


def run_level(args, config, data, folder, metrics, state, masks, diagnose, bar):
    """Train the next level of a run from `state` under `masks`; once metrics.json has it, it counts.

    diagnose(trained state, masks, network at the start, data) is what its record says beyond curves.
    """
    level, started = len(metrics["levels"]), time.perf_counter()
    kept = {name: int(mask.sum()) for name, mask in masks.items()}
    size = {name: mask.numel() for name, mask in masks.items()}
    percent = f"{100 * sum(kept.values()) / sum(size.values()):.3g}% of weights"
    bar.set_description(f"{folder.name} level {level}, {percent}")
    start, stop, network = first_step(config), budget(config, data), masked(config, data, state, masks)
    path = folder / "underway.pt"
    state, curves = from_state(config, data, state, masks, level, start, stop, bar, path)
    correct = models.correct_bits(curves.pop("correct"))
    record = {"level": level, "kept": kept, "size": size, **curves,
              "diverged": None in curves["train_loss"] + curves["val_loss"],
              # surviving weights at each input of the first layer
              "inputs": next(iter(masks.values())).flatten(1).sum(0).tolist(),
              "diagnostics": diagnose(state, masks, network, data),
              "seconds": time.perf_counter() - started}  # of a level that was picked up, since then
    save(folder / f"level_{level:02d}.pt", {"state": state, "masks": masks, "correct": correct})
    if args.tensorboard:
        tensorboard(folder, record)
    metrics["levels"].append(record)
    save(folder / "metrics.json", metrics)
    path.unlink(missing_ok=True)
    if bar.disable:
        print(f"{folder.name}  level {level}  {percent}  val {record['val_acc'][-1]:.2%}"
              f"  test {record['test_acc'][-1]:.2%}  {record['seconds']:.1f} s", file=sys.stderr, flush=True)


def initial(config, data, key="init"):
    """(state, description for metrics.json) of the scheme's own draw for this seed under a key."""
    model = models.build(config["net"], tuple(data.x_train.shape[1:]))
    layers = models.layers(model)
    inits.init_(layers, config["init"], datasets.rng(config["seed"], key), model, data.x_train)
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}, inits.describe(layers)


def ones(state):
    """Masks that keep every weight of `state`."""
    return {name.removesuffix(".weight"): torch.ones_like(w, dtype=torch.bool) for name, w in state.items()
            if name.endswith(".weight")}


def stop(number, frame):
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)  # the first one is enough
    raise Stopped(number)


def at_the_door(main):
    """Run a script's `main`: a refusal is one sentence, a signal is exit code 128 + its number."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        main()
    except Damaged as damage:
        raise SystemExit(f"{damage}: delete its folder and run again")
    except FileNotFoundError as error:
        raise SystemExit(f"{error.filename} is gone: delete its folder and run again")
    except OSError as error:
        path = error.filename or "there"
        raise SystemExit(f"cannot read or write {path}: {error.strerror}; choose another --out")
    except Stopped as stopped:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(128 + stopped.args[0])


def main():
    parser = Parser(__doc__.splitlines()[0])
    add_args(parser)
    args = parse(parser)
    todo = unfinished(args, "none", levels=0)
    if not todo:
        return
    data = open_data(args, todo)

    def work(folder, config, metrics, bar):
        state, metrics["init"] = initial(config, data)
        begin(folder, metrics)
        diagnose = functools.partial(models.record, state, None)
        run_level(args, config, data, folder, metrics, state, ones(state), diagnose, bar)
    each_run(args, todo, data, 0, work)


if __name__ == "__main__":
    at_the_door(main)
