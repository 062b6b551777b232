"""Tables of what the code says of itself, and of the runs at hand: all that the report asks of the scripts
that train and prune."""
import math
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import formatting  # noqa: E402
import inits  # noqa: E402
import models  # noqa: E402
from stats import density, scheme_name  # noqa: E402
from study import studies  # noqa: E402

TABLES: dict[str, formatting.Table] = {}
table = partial(formatting.table, TABLES)
KINDS = {"conv": "convolutional", "fc": "hidden", "out": "output"}      # of layers, as people call them


@table("network layers weights data rate pruned", rate="learning rate", pruned="pruned per round")
def networks(groups: dict) -> list[dict]:
    """The networks, their weights by layer, and Frankle & Carbin's settings for each; fc is LeNet-300-100."""
    records = []
    for net, paper in models.PAPER.items():
        layers = models.layers(models.build(net, paper["shape"]))
        sizes = {name: layer.weight.numel() for name, layer in layers.items()}
        records.append({"network": net, "data": paper["data"], "weights": f"{sum(sizes.values()):,}",
                        "layers": ", ".join(f"{name} {size:,}" for name, size in sizes.items()),
                        "rate": f"{paper['lr']:g}", "pruned": ", ".join(
                            f"{kind} {100 * rate:g}%" for kind, rate in paper["rates"].items())})
    return records


@table(names="network layer")
def widths(groups: dict) -> list[dict]:
    """How many times as wide Kaiming's weights are as Xavier's: the root of (in + out) / in."""
    records = []
    for net, paper in models.PAPER.items():
        for name, layer in models.layers(models.build(net, paper["shape"])).items():
            fan_in, fan_out = inits.fans(layer.weight)
            records.append({"network": net, "layer": name, "ratio": math.sqrt((fan_in + fan_out) / fan_in)})
    return records


@table("name label what reference", name="in commands", label="scheme")
def schemes(groups: dict) -> list[dict]:
    """The initialization schemes."""
    return [{"label": scheme_name(name), "name": f"`{name}`", "what": row.about, "reference": row.reference}
            for name, row in inits.INITS.items()]


@table("study weights rate batch epochs pruned rounds last n", weights="weights", rate="learning rate",
       epochs="epochs per level", pruned="removed per round", last="% remaining at the end", n="seeds")
def settings(groups: dict) -> list[dict]:
    """Settings by network and data set. Every level is trained from the initial values by Adam (0.9, 0.999)
    without weight decay, with its state reset; biases are not pruned. Pixels have mean 0 and standard
    deviation 1 over the training images. Conv nets are trained in bfloat16, the earlier seeds in float32."""
    records = []
    for name, study, schemes in studies(groups):
        runs = max(schemes.values(), key=len)
        longest = max(runs, key=lambda run: len(run["levels"]))
        config, levels = longest["config"], longest["levels"]
        kinds = dict.fromkeys(layer.rstrip("123456") for layer in levels[0]["size"])
        removed = ", ".join(f"{KINDS[kind]} {100 * config[f'rate_{kind}']:g}%" for kind in kinds)
        records.append({"study": name, "weights": f"{sum(levels[0]['size'].values()):,}",
                        "rate": f"{config['lr']:g}", "batch": config["batch"], "epochs": config["epochs"],
                        "pruned": removed, "rounds": len(levels) - 1,
                        "last": f"{100 * density(levels[-1]):.2g}", "n": len(runs)})
    return records
