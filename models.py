"""LeNet-300-100 and Conv-2/4/6 with the settings of their paper.

    python models.py        every network's layers and weight counts

Frankle & Carbin, "The Lottery Ticket Hypothesis", ICLR 2019 (arXiv 1803.03635), Figure 2.
"""
import warnings
from collections import OrderedDict

import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

State = dict[str, torch.Tensor]  # {parameter name: tensor}, of the dense network, on the CPU
Masks = dict[str, torch.Tensor]  # {layer: bool tensor}, True where a weight is kept, on the CPU

# convolutions (output channels, 3x3, "pool" = 2x2 max), then hidden fully connected layers (units)
NETS = {
    "fc": ((), (300, 100)),
    "conv2": ((64, 64, "pool"), (256, 256)),
    "conv4": ((64, 64, "pool", 128, 128, "pool"), (256, 256)),
    "conv6": ((64, 64, "pool", 128, 128, "pool", 256, 256, "pool"), (256, 256)),
}
ALIASES = {"conv": "conv6"}

# from Figure 2: data set, image shape (C, H, W), Adam's learning rate, iterations a level, share of the
# weights pruned a round; of your own net its defaults. Training takes the shape that the images have
PAPER = {
    "fc": {"data": "mnist", "shape": (1, 28, 28), "lr": 1.2e-3, "steps": 50000,
           "rates": {"conv": 0.0, "fc": 0.2, "out": 0.1}},
    "conv2": {"data": "cifar10", "shape": (3, 32, 32), "lr": 2e-4, "steps": 20000,
              "rates": {"conv": 0.1, "fc": 0.2, "out": 0.1}},
    "conv4": {"data": "cifar10", "shape": (3, 32, 32), "lr": 3e-4, "steps": 25000,
              "rates": {"conv": 0.1, "fc": 0.2, "out": 0.1}},
    "conv6": {"data": "cifar10", "shape": (3, 32, 32), "lr": 3e-4, "steps": 30000,
              "rates": {"conv": 0.15, "fc": 0.2, "out": 0.1}},
}
BATCH = 60


def fault(net: str) -> str:
    """The first rule that the rows of a network break, as a sentence that says what to do; "" if none."""
    row, paper = NETS[net], PAPER.get(net, {})
    tuples = len(row) == 2 and all(isinstance(part, tuple) for part in row)
    rules = {
        f"give {net} a row of PAPER in models.py: data, shape, lr, steps, rates of conv, fc and out":
            paper.keys() >= PAPER["fc"].keys() and paper["rates"].keys() == PAPER["fc"]["rates"].keys(),
        f"the row of {net} in NETS must be two tuples, as ((64, 'pool'), (256,)): write it so": tuples,
        f"{net} has no hidden layer: give its row of NETS a convolution or a fully connected one":
            tuples and {*row[0], *row[1]} - {"pool"},
        f"{net} begins with a pool: put a convolution before it in NETS": tuples and row[0][:1] != ("pool",),
    }
    return next((sentence for sentence, holds in rules.items() if not holds), "")


def least_side(net: str) -> int:
    """The smallest image side, in pixels, of which a network's pooling layers leave something."""
    return 2 ** NETS[net][0].count("pool")


def build(net: str, shape: tuple[int, int, int], classes: int = 10) -> nn.Sequential:
    """A fresh network of NETS with modules conv1.., fc1.., out, for images of shape (C, H, W): it takes
    (N, C, H, W) to logits (N, classes). Its weights are PyTorch's defaults until inits.init_ fills them."""
    (channels, height, width), (convs, units) = shape, NETS[net]
    modules, n = OrderedDict(), 0
    for place, item in enumerate(convs):
        if item == "pool":
            modules[f"pool{place}"] = nn.MaxPool2d(2)
            modules.move_to_end(f"conv{n}_relu")  # max and ReLU commute; after the pool it does a quarter
            height, width = height // 2, width // 2
            continue
        n += 1
        modules[f"conv{n}"] = nn.Conv2d(channels, item, 3, padding=1)
        modules[f"conv{n}_relu"] = nn.ReLU()
        channels = item
    modules["flatten"] = nn.Flatten()
    fan_in = channels * height * width
    for n, item in enumerate(units, 1):
        modules[f"fc{n}"], modules[f"fc{n}_relu"] = nn.Linear(fan_in, item), nn.ReLU()
        fan_in = item
    modules["out"] = nn.Linear(fan_in, classes)
    return nn.Sequential(modules)


def layers(model: nn.Module) -> dict[str, nn.Module]:
    """{name: Linear or Conv2d} from input to output: what is initialised and, but for the biases, pruned."""
    return {name: m for name, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))}


def kind(layer: str) -> str:
    """'conv3' -> 'conv', 'fc1' -> 'fc', 'out' -> 'out': the key of a layer's pruning rate."""
    return layer.rstrip("0123456789")


def weights_of(state: State) -> dict[str, torch.Tensor]:
    """{layer: weight} of a state."""
    return {name.removesuffix(".weight"): w for name, w in state.items() if name.endswith(".weight")}


def dense_masks(state: State) -> Masks:
    """Masks that keep every weight of `state`."""
    return {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights_of(state).items()}


def build_masked(net: str, shape: tuple[int, int, int], state: State, masks: Masks) -> nn.Sequential:
    """A network of `state` on the CPU, with 0 where `masks` keeps nothing."""
    model = build(net, shape, len(state["out.bias"])).to(state["out.bias"].dtype)
    model.load_state_dict(state)
    for name, layer in layers(model).items():
        torch_prune.custom_from_mask(layer, "weight", masks[name])
        torch_prune.remove(layer, "weight")  # weight = weight_orig * weight_mask once, not at every forward
    return model


warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
torch.sparse.check_sparse_tensor_invariants.disable()  # the default, but setting it silences a warning


class SparseProduct(torch.autograd.Function):
    """x (N, in) by the transpose of the CSR matrix (out, in) of `values`; only these get a gradient."""

    @staticmethod
    def forward(ctx, x, values, rows, columns):
        weight = torch.sparse_csr_tensor(rows, columns, values, (len(rows) - 1, x.size(1)))
        across = x.t().contiguous()  # both products would make this copy, each for itself
        ctx.save_for_backward(across, weight)
        return (weight @ across).t()

    @staticmethod
    def backward(ctx, gradient):
        across, weight = ctx.saved_tensors
        return None, torch.sparse.sampled_addmm(weight, gradient.t(), across.t(), beta=0).values(), None, None


class SparseLinear(nn.Module):
    """A Linear at the network's input as its surviving weights alone, `values` in the order of its mask."""

    def __init__(self, linear: nn.Linear, mask: torch.Tensor):
        super().__init__()
        pattern = mask.float().to_sparse_csr()
        self.mask, self.rows, self.columns = mask, pattern.crow_indices(), pattern.col_indices()
        self.values, self.bias = nn.Parameter(linear.weight.detach()[mask]), linear.bias

    def forward(self, x):
        return SparseProduct.apply(x, self.values, self.rows, self.columns) + self.bias

    def dense(self) -> nn.Linear:
        """The same layer as a Linear, 0 outside the mask."""
        linear = nn.Linear(self.mask.size(1), self.mask.size(0))
        weight = torch.zeros(self.mask.shape).masked_scatter(self.mask, self.values.detach())
        linear.weight = nn.Parameter(weight)
        linear.bias = self.bias
        return linear


def sparsify(model: nn.Sequential, masks: dict, few: float = 0.15) -> None:
    """Make a Linear at the input a SparseLinear where that is faster: on a CPU, with a share of less than
    `few` of its weights left."""
    name, layer = next(iter(layers(model).items()))
    on_cpu = layer.weight.device.type == "cpu"
    if isinstance(layer, nn.Linear) and on_cpu and masks[name].float().mean() < few:
        setattr(model, name, SparseLinear(layer, masks[name]))


def densify(model: nn.Sequential) -> None:
    """Undo sparsify."""
    for name, layer in list(model.named_children()):
        if isinstance(layer, SparseLinear):
            setattr(model, name, layer.dense())


def main() -> None:
    for net in NETS:
        if fault(net):
            raise SystemExit(fault(net))
    for net, row in PAPER.items():
        sizes = {name: layer.weight.numel() for name, layer in layers(build(net, row["shape"])).items()}
        print(f"{net}: {sum(sizes.values()):,} weights:", *(f"{name} {n:,}" for name, n in sizes.items()))


if __name__ == "__main__":
    import runs

    runs.run_cli(main)
