"""What survived pruning, and why: the "diagnostics" of a level's record in metrics.json.

w0 and trained are {parameter name: tensor}: the scheme's own initial values, whatever the level restarted
from, and the state at the level's end. masks is {layer: bool tensor}, what the level was trained under.
`candidates` are the masks that these were chosen from: those of the level before for an iterative pruner, all
ones if pruning goes from dense to each density at once, None at level 0; of another run's masks, those of the
level before if they are nested, or else all ones. `auroc` compares the candidates that were kept with those
that were not. All other quantities describe the surviving weights, out of the whole layer. What is undefined
is NaN, null in JSON.
"""
import functools
import math

import torch
import torch.nn.functional as F

PROBE = 512  # training images, the first ones, on which signal and gradient are measured


def ranks(w: torch.Tensor) -> torch.Tensor:
    """Ranks 1 to n of |w| (n,), equal values sharing the mean of theirs, NaN where w is: (n,) float64."""
    bits = w.abs().view(torch.int32)  # they sort as floats >= 0 do, and integers sort several times faster
    values, order = bits.sort()
    _, group, ties = values.unique_consecutive(return_inverse=True, return_counts=True)
    shared = torch.empty_like(w, dtype=torch.float64)
    shared[order] = (ties.cumsum(0) - (ties.double() - 1) / 2)[group]
    return shared.masked_fill_(w.isnan(), math.nan)


def spearman(a: torch.Tensor, b: torch.Tensor):
    """Rank correlation of |a| (n,) and |b| (n,), in [-1, 1]; NaN for n < 3, or if either is constant."""
    return torch.corrcoef(torch.stack([ranks(a), ranks(b)]))[0, 1] if len(a) > 2 else math.nan


def auroc(w: torch.Tensor, survives: torch.Tensor) -> torch.Tensor:
    """P(|w| of a survivor > |w| of another), ties counted half, of w (n,) and survives (n,) bool, in [0, 1]:
    Mann-Whitney's U over its maximum (Hanley & McNeil 1982). 0.5: survival ignored |w|. NaN: one is empty."""
    n = int(survives.sum())
    return (ranks(w)[survives].sum() - n * (n + 1) / 2) / (n * (len(w) - n))


def retained_energy(w0: torch.Tensor, mask: torch.Tensor):
    """(R, eps): R = sum of w0^2 over survivors / over all, eps = (R - d) / (R_max - d) at density d, where
    R_max is R of as many of the largest |w0|. eps 0: survival ignored |w0|; 1: |w0| alone decided it. NaN
    where R_max = d but for rounding: at d = 0, at d = 1, and for weights of one magnitude."""
    square, kept = w0.double().square().flatten(), int(mask.sum())
    density, total = kept / len(square), square.sum()
    retained = square[mask.flatten()].sum() / total
    room = square.topk(kept, sorted=False).values.sum() / total - density
    return retained, (retained - density) / room if room > 1e-9 else math.nan


def weight_stats(w0: torch.Tensor, trained: torch.Tensor, mask: torch.Tensor, candidates) -> dict:
    """Of one layer's tensors, over survivors: the root mean square (rms) of w0 and of the update
    trained - w0, their ratio rho, what |w0| tells of |trained| and of survival, the share of equal signs."""
    a, b = w0[mask], trained[mask]
    rms_w0, rms_move = (x.double().square().mean().sqrt() for x in (a, b - a))
    energy, eps = retained_energy(w0, mask)
    return {"density": mask.double().mean(), "rms_w0": rms_w0, "rms_move": rms_move, "rho": rms_w0 / rms_move,
            "spearman": spearman(a, b),
            "auroc": math.nan if candidates is None else auroc(w0[candidates], mask[candidates]),
            "retained_energy": energy, "eps": eps,
            "sign_agreement": (a.sign() == b.sign()).double().masked_fill_(b.isnan(), math.nan).mean()}


def unit_connectivity(masks: dict) -> list[torch.Tensor]:
    """[surviving weights from unit to unit, (outputs, inputs) float64, a layer each]. A channel is one unit:
    Flatten lays its H * W places side by side, so they are H * W columns of the next layer."""
    units = [next(iter(masks.values())).size(1), *map(len, masks.values())]
    return [mask.reshape(len(mask), n, -1).sum(2).double() for mask, n in zip(masks.values(), units)]


def fan_in_cv(fan_in: torch.Tensor, full: int) -> torch.Tensor:
    """Coefficient of variation of fan_in (units,), the survivors of each, over sqrt((1 - d) / (d * full)), a
    binomial's of `full` weights at density d: 1 is chance, more is uneven. NaN at d = 0 and d = 1."""
    mean = fan_in.mean()
    return fan_in.std() / mean / ((1 - mean / full) / mean).sqrt()


def weights_on_paths(connectivity: list[torch.Tensor]) -> torch.Tensor:
    """How many surviving weights lie on a path from an input to an output, by `unit_connectivity`."""
    reached = [connectivity[0].new_ones(connectivity[0].size(1))]
    for counts in connectivity[:-1]:
        reached.append((counts @ reached[-1] > 0).double())
    leading, total = connectivity[-1].new_ones(len(connectivity[-1])), 0
    for counts, source in zip(reversed(connectivity), reversed(reached)):
        total += leading @ counts @ source
        leading = (leading @ counts > 0).double()
    return total


def signal_stats(model, masks: dict, x: torch.Tensor, y: torch.Tensor, chunk: int = 64) -> dict:
    """Of a network at its masked start, on images x and labels y: E[h^2] of each hidden layer after its ReLU
    (and pool), the norm of the mean loss's gradient by the surviving weights, the std of all logits. Divided
    by level 0's they are relative to the dense network (Evci 2022). Leaves gradients in the model."""
    squares, logits = 0, []
    for images, labels in zip(x.split(chunk), y.split(chunk)):
        h, square = images, []
        for module in model:
            h = module(h)
            if isinstance(module, torch.nn.ReLU):
                square.append(h.detach().square().mean() * len(h) / len(x))
        (F.cross_entropy(h, labels, reduction="sum") / len(x)).backward()
        squares, logits = squares + torch.stack(square), [*logits, h.detach()]
    gradients = [model.get_submodule(name).weight.grad[mask] for name, mask in masks.items()]
    return {"signal": dict(zip(masks, squares)), "logit_std": torch.cat(logits).std(),
            "gradient_norm": sum(g.double().square().sum() for g in gradients).sqrt()}


@functools.lru_cache(maxsize=1)  # a process has one data set, and a tensor is its own key
def constant_inputs(x: torch.Tensor) -> torch.Tensor:
    """Which inputs never change over x (N, C, H, W): (C * H * W,) bool."""
    return x.flatten(1).amin(0) == x.flatten(1).amax(0)


def to_json(x):
    """Nested dicts of tensors and numbers as JSON has them; what is not finite is None."""
    if isinstance(x, dict):
        return {key: to_json(value) for key, value in x.items()}
    x = x.item() if isinstance(x, torch.Tensor) else x
    return x if math.isfinite(x) else None


# keys of "layers", each of one layer, over its survivors unless said:
#   density             share of the layer's weights that survive
#   rms_w0, rms_move    root mean square of the initial values, and of the updates from there
#   rho                 initial-to-update RMS ratio, rms_w0 / rms_move
#   spearman            rank correlation of initial and trained magnitude
#   auroc               P(a survivor's initial magnitude is above that of a removed candidate)
#   retained_energy     share of the layer's sum of squared initial values
#   eps                 the same from 0 (survival ignored the initial magnitude) to 1 (that alone decided)
#   sign_agreement      share whose trained sign is the initial one
#   fan_in_spread       coefficient of variation of the units' survivors, over that of random masks
#   no_way_in, no_way_out   units that no surviving weight enters, or leaves
# and of the network: effective_density, the share of all weights that survive on a path from an input to an
# output; least_class_inputs, the fewest survivors of a class; dark_share, the first layer's survivors on
# constant inputs; signal, logit_std and gradient_norm before training, as signal_stats has them


def of_level(w0: dict, candidates: dict | None, trained: dict, masks: dict, at_start, data) -> dict:
    """A level's diagnostics; `at_start` is its masked network before training, on the device of `data`."""
    x, (first, *_, last) = data.x_train, masks
    masks = {name: mask.to(x.device) for name, mask in masks.items()}
    connectivity, layers = unit_connectivity(masks), {}
    for name, count, following in zip(masks, connectivity, [*connectivity[1:], None]):
        own = [tensors[f"{name}.weight"].to(x.device) for tensors in (w0, trained)]
        before = None if candidates is None else candidates[name].to(x.device)
        layers[name] = {**weight_stats(*own, masks[name], before),
                        "fan_in_spread": fan_in_cv(count.sum(1), masks[name][0].numel()),
                        "no_way_in": (count.sum(1) == 0).sum(),
                        "no_way_out": math.nan if following is None else (following.sum(0) == 0).sum()}
    size, fan_out = sum(mask.numel() for mask in masks.values()), masks[first].sum(0)
    return to_json({"layers": layers,
                    "effective_density": weights_on_paths(connectivity) / size,
                    "least_class_inputs": masks[last].sum(1).min(),
                    "dark_share": (fan_out[constant_inputs(x)].sum() / fan_out.sum() if fan_out.dim() == 1
                                   else math.nan),  # only a Linear has an input a pixel
                    **signal_stats(at_start, masks, x[:PROBE], data.y_train[:PROBE])})
