"""Train a network from an initialization scheme: an unpruned baseline here, a level of prune.py there.

    python train.py --net fc --init xavier_normal --seed 0
"""
import argparse
import contextlib
import importlib.util
import math
import os
import time

import torch
import torch.nn.functional as F
from torch.optim.adam import adam as functional_adam
from tqdm import tqdm

import data as datasets
import diagnostics
import inits
import models
import runs
from models import Masks, State

# epochs a level (None: the iterations of models.PAPER), rounds of pruning, evaluations an epoch
PRESETS = {
    "quick": {"epochs": 1, "levels": 5, "looks": 2},
    "study": {"epochs": 5, "levels": 20, "looks": 3},
    "paper": {"epochs": None, "levels": 20, "looks": 2},
}


class Parser(argparse.ArgumentParser):
    """One sentence for a wrong flag, and below the flags a line for each choice of a table."""

    def __init__(self, description: str):  # given as text, since python -OO strips docstrings
        super().__init__(description=description, epilog="", formatter_class=argparse.RawTextHelpFormatter)

    def error(self, message):
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (--help lists the flags)\n")

    def add_choices(self, flag: str, lines: dict[str, str]) -> None:
        """Append the choices of `flag`, {name: what it is}, to the help."""
        self.epilog += f"{flag}:\n" + "".join(f"  {name:18} {text}\n" for name, text in lines.items()) + "\n"


def number(kind: type, low: float, high: float = math.inf):
    """An argparse type: a `kind` (int or float) in [low, high]."""
    def convert(text):
        value = kind(text)
        if not low <= value <= high or value == math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not in [{low}, {high}]")
        return value
    convert.__name__ = kind.__name__  # argparse names it where the text is no number at all
    return convert


def add_training_flags(parser: Parser) -> None:
    """The flags that train.py and prune.py share. What is left out comes from the preset and models.PAPER."""
    add, budget = parser.add_argument, parser.add_mutually_exclusive_group()
    add("--net", default="fc", choices=[*models.NETS, *models.ALIASES], help="fc: LeNet-300-100; conv: conv6")
    add("--init", nargs="+", default=["xavier_normal"], type=inits.init_arg, metavar="INIT",
        help="one or more of those below, with a gain if wanted: xavier_normal@0.5 (xavier_normal)")
    parser.add_choices("--init", {name: f"{row.about} ({row.reference})"
                                  for name, row in inits.INITS.items()})
    add("--seed", nargs="+", type=number(int, 0), default=[0], help="one or more (0); fixes draws, batches")
    add("--preset", default="study", choices=PRESETS, help="how long a level and a run are, below (study)")
    parser.add_choices("--preset", {
        name: f"epochs a level: {row['epochs'] or 'the iterations of the paper'}; rounds: {row['levels']}; "
              f"evaluations an epoch: {row['looks']}" for name, row in PRESETS.items()})
    add("--data", choices=datasets.DATASETS, help="mnist for fc, cifar10 for conv nets; glyphs is a stand-in")
    budget.add_argument("--epochs", type=number(int, 1), help="epochs a level (preset's)")
    budget.add_argument("--steps", type=number(int, 1), help="iterations a level, instead of epochs")
    add("--looks", type=number(int, 1), help="evaluations an epoch on validation and test images (preset's)")
    add("--batch", type=number(int, 1), help="images a step (60)")
    add("--lr", type=number(float, 0), help="Adam's learning rate (the paper's for the net)")
    add("--input", choices=datasets.SCALINGS, help="pixels of mean 0 and std 1 (default), or in [0, 1]")
    add("--precision", default="auto", choices=["auto", "fp32", "bf16"],
        help="bf16: autocast; auto: that for conv nets if the processor multiplies bf16 natively, else fp32")
    add("--data-dir", type=datasets.path_arg, default=os.environ.get("DATA_DIR", "data"),
        help="of <data>.npz ($DATA_DIR)")
    add("--out", type=datasets.path_arg, default="runs", help="where the run folders go")
    add("--device", help="cpu, cuda, cuda:1 (conv nets: the GPU if there is one; fc: cpu, which is as fast)")
    add("--threads", type=number(int, 1, 1024), default=torch.get_num_threads(),
        help="CPU threads of this process")
    add("--tensorboard", action="store_true", help="write the same numbers for TensorBoard")


def parse(parser: Parser) -> argparse.Namespace:
    """The arguments, with net, data, device and precision resolved. Refuses what this machine cannot do."""
    args = parser.parse_args()
    args.net = models.ALIASES.get(args.net, args.net)
    if fault := models.fault(args.net):
        parser.error(fault)
    args.data = args.data or models.PAPER[args.net]["data"]
    convolutions = models.NETS[args.net][0]
    if args.tensorboard and not importlib.util.find_spec("tensorboard"):
        parser.error("--tensorboard needs the package tensorboard: pip install tensorboard")
    device = args.device or ("cuda" if convolutions and torch.cuda.is_available() else "cpu")
    try:
        args.device = usable_device(device)
    except (RuntimeError, AssertionError, ImportError) as error:
        parser.error(f"the device {device} cannot be used ({str(error).splitlines()[0]}): "
                     "name another, as in --device cpu")
    if args.precision == "auto":
        args.precision = "bf16" if convolutions and multiplies_bf16(args.device) else "fp32"
    elif args.precision == "bf16" and not multiplies_bf16(args.device):
        runs.say("bf16 seems to be emulated here, which takes many times as long as --precision fp32")
    return args


def usable_device(name: str) -> torch.device:
    """The device, once it has computed a product: a GPU too old for this torch can hold a tensor and not
    compute. Raises what torch raises where it cannot, RuntimeError as a rule."""
    if torch.device(name).type not in ("cpu", "cuda"):
        raise RuntimeError("it is neither cpu nor cuda")
    ones = torch.ones(8, 8, device=name)
    (ones @ ones).sum().item()
    return ones.device


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16 and does not emulate them."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    can = getattr(torch.cpu, "get_capabilities", dict)()  # an older torch does not tell
    return can.get("avx512_bf16", False) or can.get("amx_bf16", False)


def configure_torch(threads: int) -> None:
    """Set torch's threads and float precision for this process."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # idle weights' moments fade into numbers that cost a hundred times more
    torch.set_float32_matmul_precision("highest")  # so that float32 is float32 on a GPU too, and not TF32
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True  # so that a resumed run ends with the same numbers


def default_config(net: str, preset: str) -> dict:
    """The default of every setting that a flag can change, from the preset and the paper."""
    paper, row = models.PAPER[net], PRESETS[preset]
    return {"scope": "layer", "one_shot": False, "rewind": 0, "control": None, "masks_from": None,
            "epochs": row["epochs"], "steps": None if row["epochs"] else paper["steps"],
            "looks": row["looks"], "batch": models.BATCH, "lr": paper["lr"], "input": "standard",
            "precision": "fp32",
            **{f"rate_{kind}": rate for kind, rate in paper["rates"].items()}}


def expand_configs(args: argparse.Namespace, pruner: str) -> list[tuple[str, dict]]:
    """[(run name, config)], one for each seed and scheme. `config` is all that changes numbers."""
    defaults = default_config(args.net, args.preset)
    given = {key: value for key, value in vars(args).items() if key in defaults and value is not None}
    if "epochs" in given or "steps" in given:
        given = {"epochs": None, "steps": None, **given}
    configs = []
    for seed in dict.fromkeys(args.seed):
        for init in dict.fromkeys(args.init):
            config = {"data": args.data, "net": args.net, "init": init, "pruner": pruner, "seed": seed,
                      "preset": args.preset, **defaults, **given}
            name = runs.run_name(config, defaults)
            donor = config["masks_from"] or (
                config["control"] and runs.run_name(config, defaults, without=("control",)))
            donor = donor and donor.replace("{init}", init).replace("{seed}", str(seed))
            configs.append((name, {**config, "masks_from": donor}))
    return configs


def asked_runs(args: argparse.Namespace, pruner: str, levels: int) -> tuple[list[runs.Run], list[runs.Run]]:
    """The runs that `args` asks for: those without all of levels 0 to `levels`, and the finished ones."""
    asked = [runs.Run(args.out / name, config, args.tensorboard)
             for name, config in expand_configs(args, pruner)]
    pending = [run for run in asked if run.next_level <= levels or run.without_scalars()]
    finished = [run for run in asked if run not in pending]
    for run in finished:
        runs.say(f"{run.folder} is finished")
    return pending, finished


def steps_per_epoch(config: dict, data: datasets.Data) -> int:
    return len(data.x_train) // config["batch"]


def end_step(config: dict, data: datasets.Data) -> int:
    """The step at which a level ends."""
    return config["steps"] or config["epochs"] * steps_per_epoch(config, data)


def start_step(config: dict) -> int:
    """The step at which a level starts: the one its weights are rewound to."""
    return config["rewind"] if isinstance(config["rewind"], int) else 0


def open_data(args: argparse.Namespace, pending: list[runs.Run]) -> datasets.Data:
    """The data set of the runs `pending`, on the device of `args`; its checksum goes into their configs."""
    config = pending[0].config
    data = datasets.load(args.data, args.data_dir, args.device, config["input"],
                         colour=models.PAPER[args.net]["shape"][0] == 3)
    batch, side = config["batch"], min(data.x_train.shape[2:])
    if batch > len(data.x_train):
        raise SystemExit(f"--batch {batch} is above the {len(data.x_train)} training images: take less")
    if side < models.least_side(args.net):
        raise SystemExit(f"images {side} pixels wide are too small for {args.net}: choose another --net")
    if start_step(config) >= end_step(config, data):
        raise SystemExit(f"--rewind {config['rewind']} leaves nothing to train of a level's "
                         f"{end_step(config, data)} steps: choose an earlier step")
    for run in pending:
        run.config["data_crc32"] = data.crc32
    return data


def complete(args, pending: list[runs.Run], data: datasets.Data, levels: int, work) -> None:
    """Open the runs `pending` one after another and train each up to level `levels` by work(run)."""
    config = pending[0].config
    origin = runs.provenance(args.device, args.precision, data.file)
    runs.for_each_run(pending, origin, end_step(config, data) - start_step(config), levels, work)


@torch.no_grad()  # under inference_mode autocast casts the weights anew for every chunk
def evaluate(model, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float, torch.Tensor]:
    """(mean loss in nats, accuracy in [0, 1], which are right, (N,) bool) of x (N, C, H, W) and y (N,)."""
    loss, correct = 0, []
    chunk = 60 if x.device.type == "cpu" else 1000  # on a CPU the activations of 60 stay in the cache
    for images, labels in zip(x.split(chunk), y.split(chunk)):
        logits = model(images).float()
        loss += F.cross_entropy(logits, labels, reduction="sum")
        correct.append(logits.argmax(1) == labels)
    correct = torch.cat(correct)
    return loss.item() / len(y), correct.sum().item() / len(y), correct


def adam_state(parameters) -> dict[str, list[torch.Tensor]]:
    """Adam's moments and step counts before its first step."""
    return {"first": [torch.zeros_like(p) for p in parameters],
            "second": [torch.zeros_like(p) for p in parameters],
            "steps": [torch.zeros((), device=p.device) for p in parameters]}


@torch.no_grad()
def adam_step(parameters, gradients, state: dict, lr: float) -> None:
    """One step of Adam in place, by the function behind torch.optim.Adam. The class would double the cost for
    a small network."""
    # the fused kernel ignores strides, so both must have the same memory layout
    gradients = [g if g.stride() == p.stride() else torch.empty_like(p).copy_(g)
                 for g, p in zip(gradients, parameters)]
    functional_adam(parameters, gradients, state["first"], state["second"], [], state["steps"], lr=lr,
                    beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False,
                    fused=True)


def evaluation_steps(config: dict, data: datasets.Data, start: int, end: int) -> set[int]:
    """The steps of [start, end) after which there is an evaluation: evenly spaced, the last one always."""
    count = round(config["looks"] * (end - start) / steps_per_epoch(config, data))
    count = min(max(1, count), end - start)
    return {end - (end - start) * i // count for i in range(count)}


def train(model, masks: dict, data: datasets.Data, config: dict, partial_level: runs.PartialLevel,
          progress) -> tuple[dict, torch.Tensor | None]:
    """Train `model` for the remaining steps of `partial_level`: ({name in runs.CURVES: an entry an
    evaluation}, which test images the last evaluation found right, (N,) bool).

    Adam starts fresh. Weights outside `masks` ({layer: 0/1 float tensor}) start at 0 and get no gradient, so
    they stay exactly 0. If a loss is not finite, training stops at that evaluation and the loss is recorded
    as None.
    """
    start, end = partial_level.start, partial_level.end
    names, parameters = zip(*model.named_parameters())
    by_name = {f"{name}.weight": mask for name, mask in masks.items() if not mask.all()}
    masked = [(i, by_name[name]) for i, name in enumerate(names) if name in by_name]  # not a SparseLinear
    precision = (torch.autocast(data.x_train.device.type, torch.bfloat16) if config["precision"] == "bf16"
                 else contextlib.nullcontext())
    adam, loss_sum = adam_state(parameters), torch.zeros((), device=data.x_train.device)
    evaluated, correct = evaluation_steps(config, data, start, end), None
    partial_level.resume(  # which changes these tensors in place
        {"weights": [p.detach() for p in parameters], **adam, "total": [loss_sum]}, evaluated)
    first = partial_level.state["step"]
    runs.skip(progress, first - start)
    batches = datasets.batches(data, config["seed"], partial_level.level, config["batch"], first, end)
    for step, (x, y) in partial_level.steps(batches):
        with precision:
            logits = model(x)
        loss = F.cross_entropy(logits.float(), y)  # nats
        gradients = torch.autograd.grad(loss, parameters)
        for i, mask in masked:
            gradients[i].mul_(mask)
        adam_step(parameters, gradients, adam, config["lr"])
        loss_sum += loss.detach()
        progress.update()
        if step in evaluated:
            with precision:
                *validation, _ = evaluate(model, data.x_val, data.y_val)
                *test, correct = evaluate(model, data.x_test, data.y_test)
            train_loss = loss_sum.item() / (step - partial_level.state["last"])
            partial_level.add(step, train_loss, *validation, *test)
            progress.set_postfix_str(f"val {validation[1]:.2%}", refresh=False)
            loss_sum.zero_()
            if not (math.isfinite(train_loss) and math.isfinite(validation[0])):
                break
    return partial_level.state["curves"], correct


def initial_state(config: dict, data: datasets.Data, key: str = "init") -> tuple[State, dict]:
    """(state, description for metrics.json) of the scheme's own draw for this seed under a key."""
    model = models.build(config["net"], tuple(data.x_train.shape[1:]), data.classes)
    layers = models.layers(model)
    inits.init_(layers, config["init"], datasets.rng(config["seed"], key), model, data.x_train)
    return {name: tensor.detach() for name, tensor in model.state_dict().items()}, inits.describe(layers)


def masked_on_device(config: dict, data: datasets.Data, state: State, masks: Masks) -> torch.nn.Sequential:
    """models.build_masked on the device of `data`, its convolutions in channels-last order."""
    model = models.build_masked(config["net"], tuple(data.x_train.shape[1:]), state, masks)
    return model.to(data.x_train.device, memory_format=torch.channels_last)


def train_from(config: dict, data: datasets.Data, state: State, masks: Masks,
               partial_level: runs.PartialLevel, progress) -> tuple[State, dict, torch.Tensor | None]:
    """Train a fresh network from `state` under `masks`: (its state, and the two that `train` gives)."""
    model = masked_on_device(config, data, state, masks)
    float_masks = {name: torch.empty_like(layer.weight).copy_(masks[name])
                   for name, layer in models.layers(model).items()}
    if config["precision"] == "fp32":
        models.sparsify(model, masks)
    with partial_level.guarded():
        curves, correct = train(model, float_masks, data, config, partial_level, progress)
    models.densify(model)
    trained = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    return trained, curves, correct


def train_level(run: runs.Run, data: datasets.Data, start: State, masks: Masks, initial: State,
                candidates: Masks | None) -> None:
    """Train the next level of a run from the state `start` under `masks`, and append it to the run. `initial`
    and `candidates` are for the diagnostics alone: the scheme's own initial values, and the masks that
    `masks` were chosen from."""
    config, level, started = run.config, run.next_level, time.perf_counter()
    kept = {name: int(mask.sum()) for name, mask in masks.items()}
    size = {name: mask.numel() for name, mask in masks.items()}
    percent = f"{100 * sum(kept.values()) / sum(size.values()):.3g}% of weights"
    run.progress.set_description_str(
        f"{config['net']} {config['init']} s{config['seed']} level {level}, {percent}", refresh=False)
    partial_level = runs.PartialLevel(run.folder, level, start_step(config), end_step(config, data))
    state, curves, correct = train_from(config, data, start, masks, partial_level, run.progress)
    at_start = masked_on_device(config, data, start, masks)  # as it was before training
    record = {"level": level, "kept": kept, "size": size, **curves,
              "diverged": None in curves["train_loss"] + curves["val_loss"],
              # surviving weights at each input of the first layer
              "inputs": next(iter(masks.values())).flatten(1).sum(0).tolist(),
              "diagnostics": diagnostics.of_level(initial, candidates, state, masks, at_start, data),
              "seconds": time.perf_counter() - started}  # of a level that was resumed, since then
    run.append(record, {"state": state, "masks": masks, "correct": runs.pack_bits(correct)}, percent)


def seconds_per_level(config: dict, data: datasets.Data, state: State) -> float:
    """About how long a level takes here, in seconds, from a few steps that are timed and kept nowhere. An
    evaluated image counts as a third of one that is trained on."""
    few = data._replace(x_val=data.x_val[:1], y_val=data.y_val[:1],
                        x_test=data.x_test[:1], y_test=data.y_test[:1])
    masks, first, last = models.dense_masks(state), start_step(config), end_step(config, data)
    steps = 10 if models.NETS[config["net"]][0] and data.x_train.device.type == "cpu" else 200
    times = []
    for count in (1, 1, 1 + steps):  # the difference of the last two has no part of what is done once
        started = time.perf_counter()
        train_from({**config, "looks": 1}, few, state, masks,
                   runs.PartialLevel(None, 0, first, first + count), tqdm(disable=True))
        times.append(time.perf_counter() - started)
    evaluated = len(evaluation_steps(config, data, first, last)) * (len(data.x_val) + len(data.x_test))
    images = (last - first) * config["batch"] + evaluated / 3
    return max(0, times[2] - times[1]) / steps / config["batch"] * images


def own_draw(run: runs.Run, data: datasets.Data, key: str = "init") -> tuple[State, dict]:
    """`initial_state` of a run. Ends with a sentence if the run began from another one."""
    initial, description = initial_state(run.config, data, key)
    run.require_same_start(initial, description, in_init_pt=start_step(run.config) == 0)
    return initial, description


def begin(run: runs.Run, data: datasets.Data, key: str = "init") -> State:
    """The scheme's own draw for a run, and its description in the run's metrics."""
    initial, description = own_draw(run, data, key)
    run.metrics.setdefault("init", description)
    run.write_header()
    return initial


def baseline(run: runs.Run, data: datasets.Data) -> None:
    """Train the dense network of a run."""
    initial = begin(run, data)
    train_level(run, data, initial, models.dense_masks(initial), initial, None)


def main() -> None:
    parser = Parser("Train a network from an initialization scheme, unpruned.")
    add_training_flags(parser)
    args = parse(parser)
    configure_torch(args.threads)
    pending, finished = asked_runs(args, "none", levels=0)
    if pending:
        data = open_data(args, pending)
        for run in finished:  # the new ones must be of the same scheme
            own_draw(run, data)
        complete(args, pending, data, 0, lambda run: baseline(run, data))


if __name__ == "__main__":
    runs.run_cli(main)
