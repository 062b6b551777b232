"""Data sets as tensors on the device, and every random stream by its name:  python data.py --data mnist

A set is read from <data-dir>/<name>.npz: x_train, y_train, x_test, y_test, the images uint8 (N, H, W[, 3]),
the labels 0 to K - 1. Where that file is absent torchvision makes it once, of its own folder or archive if
<data-dir> has one, or from the network; a machine without a network needs one copied file. `glyphs` is a
stand-in that needs neither: digits drawn in matplotlib's fonts.
"""
import argparse
import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

import numpy as np
import torch
from torch.nn import functional

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
VALIDATION = 5000  # images split off the training set, as in Frankle & Carbin 2019


def rng(*key: int | str) -> torch.Generator:
    """A CPU generator named by its key of plain ints and strings, such as rng(seed, "init").

    torch's mt19937 looks at the low 32 bits of its seed alone, so the hash is cut to 32 bits here already.
    """
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))


def path_arg(text: str) -> Path:
    """An argparse type: a path with a leading ~ expanded, as the shell does not in --out=~/x."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text!r} is in the home of no user here: give the whole path")


class Data(NamedTuple):
    """x (N, C, H, W) float32 and y (N,) int64 of every split, on one device."""
    x_train: torch.Tensor
    y_train: torch.Tensor
    x_val: torch.Tensor
    y_val: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    file: str   # the name of the npz file
    crc32: int  # of its x_train.npy, from the zip directory: which pixels these are

    @property
    def classes(self) -> int:
        """How many classes there are; labels are 0 to classes - 1."""
        return 1 + int(torch.cat([self.y_train, self.y_val]).max())


def load(name: str, root: Path | str, device: torch.device | str = "cpu", scaling: str = "standard",
         colour: bool = False) -> Data:
    """The data set `name` of the folder `root`, made first if its file is absent and its row of SOURCES makes
    it; a fault is a SystemExit.

    `scaling` is a row of SCALINGS. `colour` takes the row <name>_colour of SOURCES where there is one.
    """
    stem = f"{name}_colour" if colour and f"{name}_colour" in SOURCES else name
    path = Path(root) / f"{stem}.npz"
    if stem not in SOURCES:
        raise SystemExit(f"no row of SOURCES in data.py is {stem}: add one, None for a file of your own")
    try:
        if SOURCES[stem] and not os.path.exists(path):
            write_npz(path, SOURCES[stem])
        arrays, crc32 = read_npz(path)
        check_arrays(path, arrays)
        return Data(*splits(arrays, name, device, scaling), path.name, crc32)
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        raise SystemExit(f"cannot hold {path} in memory ({reason(error)}): {MORE_MEMORY}")


def splits(arrays: dict[str, np.ndarray], name: str, device, scaling: str) -> tuple[torch.Tensor, ...]:
    """The first six fields of Data, of the arrays of the data set `name`, which are used up."""
    order = torch.randperm(len(arrays["y_train"]), generator=rng("validation", name)).numpy()
    x, y = arrays.pop("x_train")[order], arrays.pop("y_train")[order]  # popped, to free the unshuffled copy
    shift, scale = SCALINGS[scaling](x[VALIDATION:])
    images = [pixels(part, shift, scale, device)
              for part in (x[VALIDATION:], x[:VALIDATION], arrays["x_test"])]
    labels = [torch.from_numpy(part.astype(np.int64).ravel()).to(device)
              for part in (y[VALIDATION:], y[:VALIDATION], arrays["y_test"])]
    return images[0], labels[0], images[1], labels[1], images[2], labels[2]


def batches(data: Data, seed: int, level: int, batch: int, start: int, stop: int) -> Iterator[tuple]:
    """(x, y) of steps [start, stop), `batch` images each, a function of (seed, level, step). Each level has
    an order of its own; what an epoch has left after its last whole batch is dropped.
    """
    n = len(data.x_train)
    per_epoch = n // batch
    for epoch in range(start // per_epoch, -(-stop // per_epoch)):
        order = torch.randperm(n, generator=rng(seed, "order", level, epoch)).to(data.x_train.device)
        first, last = max(start - epoch * per_epoch, 0), min(stop - epoch * per_epoch, per_epoch)
        for i in range(first, last):
            rows = order[i * batch:(i + 1) * batch]
            yield data.x_train.index_select(0, rows), data.y_train.index_select(0, rows)


def pixels(images: np.ndarray, shift, scale, device) -> torch.Tensor:
    """(images - shift) / scale by channel: (N, H, W[, C]) uint8 to (N, C, H, W) float32, contiguous."""
    x = torch.from_numpy(images).to(device)  # as bytes, a quarter of float32
    x = x.reshape(*x.shape[:3], -1).permute(0, 3, 1, 2)
    x = x.to(torch.float32, memory_format=torch.contiguous_format)
    for operation, value in ((x.sub_, shift), (x.div_, scale)):
        operation(torch.as_tensor(value, dtype=torch.float32, device=device).view(-1, 1, 1))
    return x


def pixel_moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation by channel, (C,) float64 each, of images (N, H, W[, C]) uint8. They are
    exact sums over a histogram."""
    counts = 0
    for part in np.array_split(images, 1 + len(images) // 100):  # bincount copies what it counts to int64
        channels = part.reshape(-1, *images.shape[3:] or (1,)).T
        counts = counts + np.stack([np.bincount(channel, minlength=256) for channel in channels])
    share, value = counts / counts.sum(1, keepdims=True), np.arange(256)
    mean = share @ value
    variance = (share * (value - mean[:, None]) ** 2).sum(1)
    return mean, np.sqrt(np.where(variance > 0, variance, 1))  # a channel of one colour becomes 0, not NaN


# what to subtract, and then to divide by
SCALINGS = {"standard": pixel_moments, "unit": lambda images: (0, 255)}


def read_npz(path: Path) -> tuple[dict[str, np.ndarray], int]:
    """The four arrays of an npz file, and the CRC of its x_train, which zipfile checks as it reads."""
    try:
        with zipfile.ZipFile(path) as members, np.load(path, allow_pickle=False) as npz:
            return {key: npz[key] for key in ARRAYS}, members.getinfo("x_train.npy").CRC
    except OSError as error:  # this tells nothing of the content
        raise SystemExit(f"cannot read {path} ({reason(error)}): " + advice(
            error, f"put an npz of {', '.join(ARRAYS)} there, or name another --data-dir"))
    except Exception as error:  # a damaged zip raises any of a dozen kinds
        raise SystemExit(f"cannot read {path} ({reason(error)}): "
                         + advice(error, f"copy it there again{or_remake(path)}"))


def check_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """End with the first rule of the file format that the arrays break, if any."""
    classes = len(np.unique(arrays["y_train"]))
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        rules = {
            f"x_{part} must be uint8 (N, H, W) or (N, H, W, 3)":
                x.dtype == np.uint8 and x.size and (x.ndim == 3 or x.shape[3:] == (3,)),
            f"y_{part} must hold one label an image": y.shape in (x.shape[:1], x.shape[:1] + (1,)),
            f"y_{part} must be whole numbers 0 to {classes - 1} for the {classes} classes of y_train":
                y.dtype.kind in "iu" and np.isin(y, np.arange(classes)).all(),
            "y_train must have more than one class": classes > 1,
            f"x_train must hold more than {VALIDATION} images, which are split off for validation":
                part == "test" or x.shape[:1] > (VALIDATION,),
            "x_train and x_test must have images of one shape": x.shape[1:] == arrays["x_train"].shape[1:],
        }
        for rule in (rule for rule, holds in rules.items() if not holds):
            raise SystemExit(f"{path}: {rule}, but x_{part} is {x.dtype} {x.shape} and y_{part} {y.dtype} "
                             f"{y.shape}; put a right file there{or_remake(path)}")


def or_remake(path: Path) -> str:
    """What else to do about a wrong file, where it is not one's own."""
    return ", or remove it to have it made anew" if SOURCES[path.stem] else ""


def atomic_write(path: Path, content: bytes) -> None:
    """Write `content` so that `path` holds all of it or is as it was, even after a power cut. Two processes
    at once do no harm. Raises OSError with the name of `path`."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_bytes(content)
        with open(beside, "rb") as file:
            os.fsync(file.fileno())  # before the rename, so that a power cut leaves no empty file
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path))


def write_npz(path: Path, source: Callable) -> None:
    """Make the file of a data set from the arrays of `source`, a row of SOURCES."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent) as scratch:
            buffer = io.BytesIO()
            np.savez(buffer, **source(path, scratch))
            atomic_write(path, buffer.getbuffer())
    except OSError as error:
        raise SystemExit(f"cannot write {path} ({reason(error)}): "
                         + advice(error, "free space, or name another --data-dir"))


def reason(error: Exception) -> str:
    """The last line of what an exception says."""
    return (getattr(error, "strerror", None) or str(error) or repr(error)).strip().splitlines()[-1]


MORE_MEMORY = "end other programs, or choose a machine with more memory"


def lacks_memory(error: Exception) -> bool:
    """Whether an exception is of Python, numpy or torch running out of memory, of the CPU or of a GPU."""
    return isinstance(error, MemoryError) or any(
        words in str(error).lower() for words in ("allocate memory", "out of memory"))


def advice(error: Exception, otherwise: str) -> str:
    """What to do about an exception: what `otherwise` says, unless it is a permission or memory that is
    lacking."""
    if isinstance(error, PermissionError) or "Permission denied" in str(error):  # shutil puts it in a list
        return "have its owner permit it, or name another --data-dir"
    return MORE_MEMORY if lacks_memory(error) else otherwise


def download(kind: str, names: tuple[str, ...], path: Path, scratch: str) -> dict[str, np.ndarray]:
    """The four arrays of torchvision's data set `kind`: from the folder or archive of one of `names` beside
    path, if there is one, else from the network. Torchvision gets a copy, since it unpacks and mends in
    place."""
    there = next((path.parent / name for name in names if (path.parent / name).exists()), None)
    try:
        if there:
            (shutil.copytree if there.is_dir() else shutil.copyfile)(there, Path(scratch, there.name))
        parts = {part: getattr(vision(), kind)(scratch, train=part == "train", download=True)
                 for part in ("train", "test")}
    except Exception as error:  # no network, no torchvision, damaged files: each has its own kind
        raise SystemExit(f"torchvision cannot get {kind} ({reason(error)}): " + advice(
            error, f"get a network, or copy {path.name} or a whole {' or '.join(names)} into {path.parent}"))
    return {f"{axis}_{part}": np.asarray(values, np.uint8)
            for part, images in parts.items() for axis, values in (("x", images.data), ("y", images.targets))}


def vision():
    """torchvision.datasets, imported also where torchvision's compiled operators do not fit this torch."""
    try:
        from torchvision import datasets
    except RuntimeError:  # operator torchvision::nms does not exist: the compiled ones did not load
        for operator in ("nms", "qnms"):
            torch.library.define(f"torchvision::{operator}",
                                 "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from torchvision import datasets
    return datasets


FONTS = ("DejaVuSans DejaVuSans-Bold DejaVuSans-Oblique DejaVuSansMono DejaVuSansMono-Bold DejaVuSerif "
         "DejaVuSerif-Bold DejaVuSerif-Italic STIXGeneral STIXGeneralBol STIXGeneralItalic STIXGeneralBolIta "
         "cmr10 cmb10 cmss10 cmtt10").split()


def glyphs(_path, _scratch, **style) -> dict[str, np.ndarray]:
    """The four arrays of the stand-in: 20,000 and 2,000 drawn digits, the same at every call. For `style`
    see `draw_glyphs`."""
    masters, threads = glyph_masters(), torch.get_num_threads()
    torch.set_num_threads(1)  # a second thread gains little here, and loses much on a busy machine
    parts = [draw_glyphs(masters, rng("glyphs", style["channels"], part), style) for part in range(44)]
    torch.set_num_threads(threads)
    x, y = (torch.cat(column).numpy() for column in zip(*parts))
    return dict(zip(ARRAYS, (x[:20000], y[:20000], x[20000:], y[20000:])))


def glyph_masters() -> torch.Tensor:
    """Every font's digits, upright in the middle of their cells: (font, digit, 64, 64) float32 in [0, 1]."""
    os.environ.pop("MPLBACKEND", None)  # a notebook's, which stops the import where it is not installed
    import matplotlib
    from matplotlib.ft2font import FT2Font
    if matplotlib.__version_info__ < (3, 11):
        raise SystemExit(f"matplotlib {matplotlib.__version__} draws other glyphs than 3.11 and later: "
                         "pip install 'matplotlib>=3.11'")
    masters = torch.zeros(len(FONTS), 10, 64, 64)
    for name, cells in zip(FONTS, masters):
        font = FT2Font(str(Path(matplotlib.get_data_path(), "fonts", "ttf", f"{name}.ttf")))
        font.set_size(52, 72)  # points, dots an inch: digits about 40 pixels high
        for digit, cell in enumerate(cells):
            font.set_text(str(digit))
            font.draw_glyphs_to_bitmap()
            ink = torch.from_numpy(np.array(font.get_image()))
            top, left = (64 - ink.shape[0]) // 2, (64 - ink.shape[1]) // 2
            cell[top:top + ink.shape[0], left:left + ink.shape[1]] = ink / 255
    return masters


def draw_glyphs(masters: torch.Tensor, g: torch.Generator, style: dict, n: int = 500):
    """n images (n, side, side[, 3]) and labels (n,), uint8: a digit, and half of another cut by the border.

    Of `style`: side in pixels and channels; ground and contrast, (low, high) in [0, 1]; texture and noise,
    standard deviations on that scale. 500 images fit the cache.
    """
    side, channels = style["side"], style["channels"]
    digits, others = torch.randperm(n, generator=g) % 10, torch.randint(10, (n,), generator=g)
    base = uniform(g, *style["ground"], n, channels, 1, 1)
    rough = functional.interpolate(torch.randn(n, channels, 4, 4, generator=g), size=side, mode="bilinear")
    noise = style["noise"] * torch.randn(n, channels, side, side, generator=g)
    image = base + style["texture"] * rough + noise
    way = uniform(g, 0, 2 * torch.pi, n)
    border = 1.1 * torch.stack([way.cos(), way.sin()], 1)
    for number, centre, strength in ((digits, uniform(g, -0.15, 0.15, n, 2), 1.0), (others, border, 0.6)):
        tint = torch.randn(n, channels, 1, 1, generator=g).abs() * (0.5 - base).sign()  # light on dark
        tint *= uniform(g, *style["contrast"], n, 1, 1, 1) * strength / tint.norm(dim=1, keepdim=True)
        image += tint * warp(masters, number, centre, side, g)
    return (image.clamp_(0, 1) * 255).round().byte().permute(0, 2, 3, 1).squeeze(3), digits.byte()


def warp(masters: torch.Tensor, digits: torch.Tensor, centre: torch.Tensor, side: int,
         g: torch.Generator) -> torch.Tensor:
    """Ink (n, 1, side, side) in [0, 1] of digits (n,) about centre (n, 2), in random font, turn and size."""
    n = len(digits)
    fonts = torch.randint(len(masters), (n,), generator=g)
    angle, slant = uniform(g, -0.35, 0.35, n), uniform(g, -0.3, 0.3, n)  # radians, and columns a row
    size = uniform(g, 0.8, 1.3, n)
    cos, sin = angle.cos() / size, angle.sin() / size
    turn = torch.stack([cos, cos * slant - sin, sin, sin * slant + cos], 1).view(n, 2, 2)
    theta = torch.cat([turn, -turn @ centre[..., None]], 2)  # from a place in the image to one in the master
    grid = functional.affine_grid(theta, (n, 1, side, side), align_corners=False)
    return functional.grid_sample(masters[fonts, digits][:, None], grid, align_corners=False)


def uniform(g: torch.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    """Float32 numbers of the given shape in [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=g)


# name of the file: its arrays, given the path where it will be and a scratch folder; None: it is one's own
SOURCES: dict[str, Callable | None] = {
    "mnist": partial(download, "MNIST", ("MNIST",)),
    "cifar10": partial(download, "CIFAR10", ("cifar-10-batches-py", "cifar-10-python.tar.gz")),
    "fashion_mnist": partial(download, "FashionMNIST", ("FashionMNIST",)),
    "glyphs": partial(
        glyphs, side=28, channels=1, ground=(0.0, 0.0), texture=0.0, contrast=(0.5, 1.0), noise=0.1),
    "glyphs_colour": partial(
        glyphs, side=32, channels=3, ground=(0.4, 0.6), texture=0.1, contrast=(0.7, 1.0), noise=0.05),
}
DATASETS = [name for name in SOURCES if not name.endswith("_colour")]


def main() -> None:
    parser = argparse.ArgumentParser(description="Print shape, mean, std and class counts of every split.")
    parser.add_argument("--data", choices=DATASETS, default="mnist")
    parser.add_argument("--data-dir", type=path_arg, default=os.environ.get("DATA_DIR", "data"))
    parser.add_argument("--input", choices=SCALINGS, default="standard")
    parser.add_argument("--colour", action="store_true", help="glyphs as the convolutional nets see them")
    args = parser.parse_args()
    data = load(args.data, args.data_dir, scaling=args.input, colour=args.colour)
    print(f"{data.file}  crc32 {data.crc32:08x}")
    for split, x, y in zip(("train", "val", "test"), data[0:6:2], data[1:6:2]):
        print(f"{split:5} {tuple(x.shape)}  mean {x.mean():.3f}  std {x.std():.3f}  "
              f"per class {' '.join(map(str, y.bincount(minlength=data.classes).tolist()))}")


if __name__ == "__main__":
    import runs

    runs.run_cli(main)
