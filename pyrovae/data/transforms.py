"""From stored data to what a model scores: grey levels to [0, 1] or to {0, 1}."""

import difflib
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pyrovae.checks import check_seed, check_tensor
from pyrovae.data.batch import Batch
from pyrovae.data.mapped import parts
from pyrovae.data.named import named_tensors
from pyrovae.errors import DataError, SettingError, SupportError
from pyrovae.numeric import has_values

__all__ = ["Binarize", "DrawNormal", "Scale", "Transform"]

ROWS = 1024
"""Rows that become floats at a time, which bounds the memory."""

_MODES = ("dynamic", "static", "threshold")


class Transform(Protocol):
    """What turns stored data into what a model scores: `prepare` runs once per split, the call at every step.

    `fit`, `evaluate` and every other tool run `prepare` on the data that they are given, so nobody has to. Data that
    are prepared already must come out as they are: `prepare(prepare(batch))` equals `prepare(batch)`.

    Data larger than memory are never prepared as a whole. For a `Source`, `prepare` checks the first rows, and a method
    `prepare_rows(batch)` prepares each batch that is read; a transform without one takes tensors alone.
    """

    def prepare(self, batch: Batch) -> Batch:
        """Check and convert a whole split, `batch`; a prepared one stays as it is."""
        ...

    def __call__(self, batch: Batch) -> Batch:
        """Convert a prepared `batch` on its device. This is tensor code only, so it can be traced and compiled."""
        ...


@dataclass(frozen=True)
class Scale:
    """Grey levels to [0, 1]: uint8 `x` becomes float32 `x / 255`. Everything else stays as it is.

    A batch without `x` stays as it is too, so this is the default of tools for pairs with sites of any name.
    """

    def prepare(self, batch: Batch) -> Batch:
        """The tensors of the `batch` themselves.

        Raises:
            DataError: the batch is no named tensors.
            SupportError: uint8 `x` holds only 0 and 1, which would become 0 and 1/255.
        """
        batch = named_tensors("Scale", batch)
        if "x" in batch:
            _refuse_binary(batch["x"])
        return batch

    def prepare_rows(self, batch: Batch) -> Batch:
        """The rows of a `batch` themselves."""
        return batch

    def __call__(self, batch: Batch) -> Batch:
        """The `batch` with `x` in [0, 1]."""
        return {**batch, "x": _probability(batch["x"])} if "x" in batch else batch


@dataclass(frozen=True)
class Binarize:
    """Grey levels to {0, 1}, for a Bernoulli likelihood: `x / 255` is the probability of a 1.

    `dynamic` draws anew at every call (Salakhutdinov & Murray, 2008; Burda et al., 2016). The model never meets the
    same binary image twice, and so hardly overfits. `static` draws once, in `prepare`, from `seed`: a fixed binary data
    set. The file of Larochelle & Murray (2011) is another such draw, so numbers on it are close but not comparable to
    the last digit. `threshold` puts 1 where the level is above one half: images without pixel noise, an easier data set
    with a higher log p(x). The three give different numbers, so a table has to say which.

    For `static` and `threshold`, `prepare` returns uint8 `x` in {0, 255}, black and white. Its own result comes out as
    it is: a white pixel is 1 with probability 1.

    Args:
        mode: `dynamic`, `static` or `threshold`.
        seed: the seed of the static draw. It is made on the CPU, so it is the same on every device.

    Raises:
        DataError: an unknown mode.
        SettingError: a seed that is no whole number from 0 to 2^32 - 1.
    """

    mode: str = "dynamic"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            near = difflib.get_close_matches(str(self.mode), _MODES, n=1, cutoff=0.0)[0]
            raise DataError(f"mode is one of {', '.join(_MODES)}, got {self.mode!r}. Write Binarize(mode={near!r}).")
        check_seed("seed", self.seed)

    def prepare(self, batch: Batch) -> Batch:
        """Check `x` of the `batch` and, unless the mode is dynamic, binarise it to uint8 {0, 255}.

        Raises:
            DataError: there is no `x`.
            SupportError: float `x` outside [0, 1], `x` neither uint8 nor float, or uint8 `x` of 0 and 1.
        """
        batch = named_tensors("Binarize", batch)
        x = _images(batch)
        _refuse_binary(x)
        return self._prepared(batch, x)

    def prepare_rows(self, batch: Batch) -> Batch:
        """The rows of a `batch`, checked and, by a threshold, binarised.

        Raises:
            SettingError: the mode is static: its one draw runs over all data.
            SupportError: float `x` outside [0, 1].
        """
        if self.mode == "static":
            raise SettingError(
                "Binarize('static') draws all data at once, and a source gives some rows at a time. Write Binarize(), "
                "or Binarize('threshold'), or save binary data."
            )
        return self._prepared(batch, _images(batch))

    def _prepared(self, batch: Batch, x: Tensor) -> Batch:
        _check_unit(x)
        if self.mode == "dynamic":
            return batch
        if _is_binary(x):  # prepared already: each pixel is black or white with probability 1
            return batch
        generator = torch.Generator().manual_seed(self.seed)
        return {**batch, "x": torch.cat([self._fix(part, generator) for part in parts(x, ROWS)])}

    def _fix(self, x: Tensor, generator: torch.Generator) -> Tensor:
        p = _probability(x)
        threshold = 0.5 if self.mode == "threshold" else torch.rand(p.shape, generator=generator).to(p.device)
        return (p > threshold).to(torch.uint8) * 255

    def __call__(self, batch: Batch) -> Batch:
        """The `batch` with float `x` in {0, 1}.

        Raises:
            DataError: there is no `x`.
            SupportError: the mode is static, and `x` was not prepared; a step that is compiled, or on a GPU, does not
                look.
        """
        x = _images(batch)
        p = _probability(x)
        if self.mode == "dynamic":
            return {**batch, "x": (torch.rand_like(p) < p).to(p.dtype)}
        if self.mode == "threshold":
            return {**batch, "x": (p > 0.5).to(torch.float32)}
        _check_static(x)
        return {**batch, "x": p.to(torch.float32)}


@dataclass(frozen=True)
class DrawNormal:
    """x ~ Normal(x, scale): a fresh draw at every call, such as one of the codes of another guide.

    A batch holds the means as `x` and the standard deviations as `scale`, of the same shape.
    """

    def prepare(self, batch: Batch) -> Batch:
        """The tensors of the `batch` themselves.

        Raises:
            DataError: there is no `x`, or no `scale`.
        """
        batch = named_tensors("DrawNormal", batch)
        if not {"x", "scale"} <= batch.keys():
            raise DataError(
                f"DrawNormal requires means 'x' and standard deviations 'scale', got {', '.join(map(repr, batch))}. "
                'Write {"x": loc, "scale": scale}.'
            )
        return batch

    def prepare_rows(self, batch: Batch) -> Batch:
        """The rows of a `batch` themselves."""
        return batch

    def __call__(self, batch: Batch) -> Batch:
        """The `batch` with a draw as `x`."""
        return {**batch, "x": torch.normal(batch["x"], batch["scale"])}


def _probability(x: Tensor) -> Tensor:
    return x.to(torch.float32) / 255 if x.dtype == torch.uint8 else x


def _images(batch: Batch) -> Tensor:
    if "x" not in batch:
        raise DataError(
            f"Binarize requires a tensor named 'x', got {', '.join(map(repr, batch)) or 'none'}. Write "
            '{"x": images}, or transform=Scale().'
        )
    return batch["x"]


def _is_binary(x: Tensor) -> bool:
    """Whether uint8 x is black and white; most grey images tell by the first rows."""
    return x.dtype == torch.uint8 and all(bool(((part == 0) | (part == 255)).all()) for part in x.split(ROWS))


def _check_static(x: Tensor) -> None:
    """Refuse grey levels where they can be seen without waiting for a device."""
    white = 255 if x.dtype == torch.uint8 else 1
    if x.device.type == "cpu" and has_values(x) and ((x != 0) & (x != white)).any():
        raise SupportError(
            "Binarize('static') requires a prepared batch, got grey levels. Write batch = transform.prepare(data) "
            "once, and transform(batch)."
        )


def _refuse_binary(x: Tensor) -> None:
    # The first rows tell grey levels from bits, and looking at more would read a streamed file.
    head = check_tensor("x", x, "(N, *event)", least_dims=1)[:ROWS]
    if x.dtype == torch.uint8 and head.numel() > 0 and head.max() == 1:
        raise SupportError(
            "uint8 x holds grey levels 0..255, got only the values 0 and 1: x is binary already. Make it a float "
            "before it is saved, x = x.astype('float32')."
        )


def _check_unit(x: Tensor) -> None:
    if x.dtype == torch.uint8 or x.numel() == 0:
        return
    if not x.is_floating_point():
        raise SupportError(f"Binarize requires uint8 grey levels or floats in [0, 1], got x of dtype {x.dtype}.")
    ends = [part.aminmax() for part in parts(x, ROWS)]
    low, high = float(torch.stack([end.min for end in ends]).min()), float(torch.stack([end.max for end in ends]).max())
    if not (low >= 0 and high <= 1):
        raise SupportError(
            f"Binarize requires float x in [0, 1], got values from {low:.4g} to {high:.4g}. Rescale them, "
            "x = (x - x.min()) / (x.max() - x.min()), or store grey levels as uint8."
        )
