"""Tables of what the code says of itself, and of the runs at hand: all that the report asks of the scripts
that train and prune."""
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import data as datasets  # noqa: E402
import formatting  # noqa: E402
import inits  # noqa: E402
import models  # noqa: E402
import train  # noqa: E402

TABLES: dict[str, formatting.Table] = {}
table = partial(formatting.table, TABLES)


@table("network layers weights data rate pruned", rate="learning rate", pruned="pruned a round")
def networks(groups: dict) -> list[dict]:
    """The networks, their weights by layer, and Frankle & Carbin's settings for each."""
    records = []
    for net, paper in models.PAPER.items():
        layers = models.layers(models.build(net, paper["shape"]))
        sizes = {name: layer.weight.numel() for name, layer in layers.items()}
        records.append({"network": net, "data": paper["data"], "weights": f"{sum(sizes.values()):,}",
                        "layers": ", ".join(f"{name} {size:,}" for name, size in sizes.items()),
                        "rate": f"{paper['lr']:g}", "pruned": ", ".join(
                            f"{kind} {100 * rate:g}%" for kind, rate in paper["rates"].items())})
    return records


@table("name what reference", name="scheme")
def schemes(groups: dict) -> list[dict]:
    """The initialization schemes."""
    return [{"name": f"`{name}`", "what": row.about, "reference": row.reference}
            for name, row in inits.INITS.items()]


@table("what value")
def hyperparameters(groups: dict) -> list[dict]:
    """Hyperparameters of the study preset."""
    preset = train.PRESETS["study"]
    return [{"what": what, "value": value} for what, value in {
        "optimizer": "Adam (0.9, 0.999), fresh at every level; no weight decay",
        "batch": f"{models.BATCH} images", "epochs a level": str(preset["epochs"]),
        "evaluations": f"{preset['looks']} an epoch, on validation and test images",
        "pixels": "mean 0, standard deviation 1 over the training images, a channel each",
        "validation": f"{datasets.VALIDATION:,} training images, the same for all",
        "pruned": "weights; never biases", "reset to": "the scheme's own initial values"}.items()]


@table("group schemes n rounds commit", n="runs")
def runs(groups: dict) -> list[dict]:
    """Runs in results/ by group, and the commits that made them."""
    records = []
    for name, members in groups.items():
        all_runs = sum(members.values(), [])
        commits = {row["commit"] for run in all_runs for row in run["provenance"]}
        records.append({"group": f"`{name}`", "schemes": len(members), "n": len(all_runs),
                        "rounds": max(len(run["levels"]) - 1 for run in all_runs),
                        "commit": ", ".join(sorted(commits))})
    return records
