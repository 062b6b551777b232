"""What scores a weight, which weights are kept, and what the survivors restart from: one table row each."""
from typing import Callable, NamedTuple

import torch
import torch.nn.functional as F

import data as datasets
import models
from models import Masks, State

IMAGES_PER_CLASS = 10    # for SNIP and GraSP: as Wang et al. do, and in sum Lee et al.'s batch of 100
GRASP_TEMPERATURE = 200  # GraSP divides the logits by this, in its authors' code
MAX_RESCALE = 10         # the most that `rescaled` multiplies a unit's weights by

# A score gives every weight a number, {layer: tensor like its weight}; the largest are kept. `state` is the
# state to score, `w0` the one at the rewind point (--rewind 0, or K), `level` the level that the new masks
# are for.
Score = Callable[[State, State, Masks, dict, datasets.Data, int], dict[str, torch.Tensor]]


def magnitude(state, *_):
    """|w|."""
    return {name: w.abs() for name, w in models.weights_of(state).items()}


def movement(state, w0, *_):
    """|w_T - w_0|."""
    return {name: (w - w0[f"{name}.weight"]).abs() for name, w in models.weights_of(state).items()}


def magnitude_increase(state, w0, *_):
    """|w_T| - |w_0|."""
    return {name: w.abs() - w0[f"{name}.weight"].abs() for name, w in models.weights_of(state).items()}


def random_score(state, w0, masks, config, data, level):
    """Uniform in [0, 1), the same for all schemes of a seed."""
    g = datasets.rng(config["seed"], "random-scores", level)
    return {name: torch.rand(mask.shape, generator=g) for name, mask in masks.items()}


def random_score_once(state, w0, masks, config, data, level):
    """One draw for all densities, so that their masks are nested."""
    return random_score(state, w0, masks, config, data, 0)


def scoring_batch(config: dict, data: datasets.Data) -> tuple[torch.Tensor, torch.Tensor]:
    """(x, y) of IMAGES_PER_CLASS training images of each class, the same for all schemes and densities of a
    seed."""
    order = torch.randperm(len(data.y_train), generator=datasets.rng(config["seed"], "score-images"))
    labels = data.y_train.cpu()[order]
    rows = torch.cat([order[labels == label][:IMAGES_PER_CLASS] for label in labels.unique()])
    rows = rows.to(data.y_train.device)
    return data.x_train[rows], data.y_train[rows]


def masked_network(state: State, masks: Masks, config: dict, like: torch.Tensor):
    """(a network of `state` under `masks` for images `like`, on their device and in their dtype; its
    {layer: weight})."""
    model = models.build_masked(config["net"], tuple(like.shape[1:]), state, masks).to(like)
    return model, {name: layer.weight for name, layer in models.layers(model).items()}


def weight_times_grad(weight: dict, gradients) -> dict[str, torch.Tensor]:
    """{layer: weight * gradient}."""
    return {name: (weight[name] * g).detach() for name, g in zip(weight, gradients)}


def snip(state, w0, masks, config, data, level):
    """|w dL/dw| = |dL/dc| of a factor c = 1 on the weight: Lee et al. 2019 (arXiv 1810.02340)."""
    model, weight = masked_network(state, masks, config, data.x_train)
    x, y = scoring_batch(config, data)
    gradients = torch.autograd.grad(F.cross_entropy(model(x), y), list(weight.values()))
    return {name: score.abs() for name, score in weight_times_grad(weight, gradients).items()}


def grasp(state, w0, masks, config, data, level):
    """w Hg, with its sign: Wang et al. 2020 (arXiv 2002.07376) remove the highest -w Hg, since removing w
    changes |g|^2 by -2 w Hg to first order, and so keep the most gradient.

    g is the gradient of the weights alone, as in the authors' code, and Hg that of |g|^2 / 2.
    """
    model, weight = masked_network(state, masks, config, data.x_train)
    x, y = scoring_batch(config, data)
    loss = F.cross_entropy(model(x) / GRASP_TEMPERATURE, y)
    g = torch.autograd.grad(loss, list(weight.values()), create_graph=True)
    half_square = sum(part.square().sum() for part in g) / 2
    return weight_times_grad(weight, torch.autograd.grad(half_square, list(weight.values())))


def synflow(state, w0, masks, config, data, level):
    """|w dR/dw|, R the sum of the outputs for an input of ones where every weight is |w| and every bias 0:
    Tanaka et al. 2020 (arXiv 2006.05467). R is a product over the layers, hence float64."""
    positive = {name: tensor.abs() if name.endswith(".weight") else torch.zeros_like(tensor)
                for name, tensor in state.items()}
    ones = torch.ones_like(data.x_train[:1], dtype=torch.float64)
    model, weight = masked_network(positive, masks, config, ones)
    return weight_times_grad(weight, torch.autograd.grad(model(ones).sum(), list(weight.values())))


# A rule of what is kept: keep(scores, masks, config, level) -> masks
Keep = Callable[[dict[str, torch.Tensor], Masks, dict, float], Masks]


def kept_counts(masks: Masks, config: dict, level: float) -> dict[str, int]:
    """{layer: weights kept at `level`}, counted from level 0 so that no rounding adds up."""
    return {name: round(mask.numel() * (1 - config[f"rate_{models.kind(name)}"]) ** level)
            for name, mask in masks.items()}


def keep_largest(scores: dict, masks: Masks, kept: dict[str, int], scope: str, seed: int) -> Masks:
    """Masks of exactly kept[layer] of the highest `scores` among what `masks` has left; with scope "global",
    of sum(kept) over all layers. Which of equal scores stay is drawn, once a seed, so that masks of less and
    less density are nested; a score that is no number is the lowest. It ranks on the device of `scores`."""
    new = {}
    for group in [list(masks)] if scope == "global" else [[name] for name in masks]:
        score = torch.cat([scores[name].flatten() for name in group]).nan_to_num(nan=-torch.inf)
        alive = torch.cat([masks[name].flatten() for name in group]).to(score.device)
        count = sum(kept[name] for name in group)
        if count < alive.sum():
            highest_removed = score[alive].sort(descending=True).values[count]
            keep, equal = alive & (score > highest_removed), alive & (score == highest_removed)
            places = equal.nonzero().flatten()
            if spare := count - int(keep.sum()):  # of the equal ones stay
                drawn = torch.rand(len(score), generator=datasets.rng(seed, "ties", *group))
                keep[places[drawn.to(places.device)[places].topk(spare).indices]] = True
            alive = keep
        for name, part in zip(group, alive.cpu().split([masks[name].numel() for name in group])):
            new[name] = part.view_as(masks[name])
    return new


def keep_weights(scores, masks, config, level):
    """Masks of the weights with the largest scores."""
    return keep_largest(scores, masks, kept_counts(masks, config, level), config["scope"], config["seed"])


def keep_units(scores, masks, config, level):
    """Masks of the hidden units, or filters, with the largest mean score of their incoming weights; the rates
    count units. A layer keeps its best one in any case. Within a layer the mean of |w| ranks as the L1 norm
    of Li et al. 2017 (arXiv 1608.08710) does."""
    alive = {name: masks[name].flatten(1).any(1) for name in list(masks)[:-1]}
    scores = {name: scores[name].cpu() for name in alive}
    means = {name: (scores[name] * masks[name]).flatten(1).sum(1) / masks[name].flatten(1).sum(1)
             for name in alive}  # 0/0 of a removed unit, which nothing reads
    for name, mean in means.items():
        mean[mean.masked_fill(~alive[name], -torch.inf).argmax()] = torch.inf
    kept = {name: max(1, units) for name, units in kept_counts(alive, config, level).items()}
    return without_units(keep_largest(means, alive, kept, config["scope"], config["seed"]), masks)


def without_units(alive: dict[str, torch.Tensor], masks: Masks) -> Masks:
    """`masks` without the rows of units that `alive` ({hidden layer: (units,) bool}) lacks, and without the
    columns that read them."""
    new, inputs = {}, torch.ones(1, dtype=torch.bool)
    for name, mask in masks.items():
        rows = alive.get(name, torch.ones(len(mask), dtype=torch.bool))
        columns = inputs.repeat_interleave(mask.size(1) // len(inputs))  # flattened, a channel is H*W columns
        new[name] = mask & torch.outer(rows, columns).view(*mask.shape[:2], *[1] * (mask.dim() - 2))
        inputs = rows
    return new


class Pruner(NamedTuple):
    """A row of PRUNERS."""
    score: Score
    text: str
    when: str = "after"        # what it scores: trained weights, or those "before" any training
    passes: int = 1            # of scoring and pruning for each level
    keep: Keep = keep_weights


PRUNERS = {
    "magnitude": Pruner(magnitude, "|w| after training: Han et al. 2015, arXiv 1506.02626"),
    "movement": Pruner(movement, "|w - w0|: Zhou et al. 2019, arXiv 1905.01067"),
    "magnitude_increase": Pruner(magnitude_increase, "|w| - |w0|: Zhou et al. 2019, arXiv 1905.01067"),
    "random": Pruner(random_score, "chance, drawn afresh at every level"),
    "filters": Pruner(magnitude, "whole hidden units or filters, mean |w|: Li et al. 2017, arXiv 1608.08710",
                      keep=keep_units),
    "magnitude_init": Pruner(magnitude, "|w0|, before training: Frankle et al. 2021, arXiv 2009.08576",
                             "before"),
    "random_init": Pruner(random_score_once, "chance, before training, one draw for all densities", "before"),
    "snip": Pruner(snip, "|w dL/dw|, before training: Lee et al. 2019, arXiv 1810.02340", "before"),
    "grasp": Pruner(grasp, "w Hg, before training: Wang et al. 2020, arXiv 2002.07376", "before"),
    "synflow": Pruner(synflow, "synaptic flow, before training, in 100 passes: Tanaka et al. 2020, "
                      "arXiv 2006.05467", "before", 100),
}


def next_masks(masks: Masks, state: State, w0: State, config: dict, data: datasets.Data, level: int) -> Masks:
    """The masks of `level` by the run's pruner, from `masks` and the state to score. With several passes, a
    layer keeps density ** (p / n) of its weights after pass p of n (Tanaka et al. 2020)."""
    pruner = PRUNERS[config["pruner"]]
    for number in range(1, pruner.passes + 1):
        scores = {name: score.to(data.x_train.device)
                  for name, score in pruner.score(state, w0, masks, config, data, level).items()}
        masks = pruner.keep(scores, masks, config, level * number / pruner.passes)
    return masks


# A rewind gives the state that a level restarts from, of `w0`, the state at the rewind point, and `scored`,
# the state that the masks were chosen by.

def to_w0(w0: State, masks: Masks, scored: State) -> State:
    """The state at the rewind point itself."""
    return w0


def keep_trained(w0: State, masks: Masks, scored: State) -> State:
    """The trained weights."""
    return scored


def signs(w0: State, masks: Masks, scored: State) -> State:
    """sign(w0) times the standard deviation of the layer's w0."""
    return w0 | {f"{name}.weight": w.sign() * w.std() for name, w in models.weights_of(w0).items()}


def rescaled(w0: State, masks: Masks, scored: State) -> State:
    """The surviving w0, scaled by a factor of at most MAX_RESCALE to the norm that each unit's weights have
    in the dense network. Evci et al. 2022 scale by the number of survivors instead."""
    new = dict(w0)
    for name, w in models.weights_of(w0).items():
        dense, left = w.flatten(1).norm(dim=1), (w * masks[name]).flatten(1).norm(dim=1)
        factor = (dense / left).nan_to_num(nan=1).clamp(max=MAX_RESCALE)  # of an empty unit NaN or inf
        new[f"{name}.weight"] = w * masks[name] * factor.view(-1, *[1] * (w.dim() - 1))
    return new


class Rewind(NamedTuple):
    """A row of REWINDS."""
    state: Callable[[State, Masks, State], State]
    text: str


REWINDS = {
    "none": Rewind(keep_trained, "the trained weights: no rewinding"),
    "signs": Rewind(signs, "sign(w0) times the standard deviation of the layer's w0: Zhou et al. 2019, "
                    "arXiv 1905.01067"),
    "rescaled": Rewind(rescaled, "the surviving w0, scaled to each unit's unpruned norm: after Evci et al. "
                       "2022, arXiv 2010.03533"),
}


def restart_state(rewind: int | str, w0: State, masks: Masks, scored: State) -> State:
    """The state that a level restarts from; `rewind` is a name of REWINDS or a step, whose state w0 is."""
    state = REWINDS[rewind].state if rewind in REWINDS else to_w0
    return without_idle_biases(state(w0, masks, scored), masks)


def without_idle_biases(state: State, masks: Masks) -> State:
    """`state` with 0 for the bias of a hidden unit that no weight enters or leaves, so that a removed unit is
    gone as a whole. No other layer reads it and its gradient is 0: training is the same."""
    new, names = dict(state), list(masks)
    for name, reader in zip(names, names[1:]):
        enters = masks[name].flatten(1).any(1)
        leaves = masks[reader].any(0).view(len(enters), -1).any(1)
        new[f"{name}.bias"] = state[f"{name}.bias"].masked_fill(~(enters | leaves), 0)
    return new
