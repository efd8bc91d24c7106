"""Image completion: some quadrants of an image are seen, the others are predicted."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.data.dataset import Batch
from pyrovae.data.named import named_tensors
from pyrovae.data.transforms import Scale
from pyrovae.errors import DataError, ShapeError

__all__ = ["Quadrants"]

# The order in which quadrants are seen, as (row, column): the task of Sohn et al. in Pyro's tutorial.
_ORDER = ((1, 0), (0, 0), (0, 1), (1, 1))


@dataclass(frozen=True)
class Quadrants:
    """Grey levels to [0, 1]; `y` becomes the seen pixels, `x` the others, both flat: for a model of p(x | y).

    `prepare` takes the images apart; what it has taken apart stays as it is.

    Args:
        seen: how many quadrants are seen: 1 is the bottom left one, 2 adds the top left one, 3 the top right one.

    Raises:
        DataError: `seen` is another number; and in `prepare`, x is not images.

    References: Sohn et al. (2015), Learning structured output representation using deep conditional generative models.
    """

    seen: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.seen, int) or self.seen not in (1, 2, 3):
            raise DataError(f"Quadrants sees 1, 2 or 3 quadrants of the four, got {self.seen}. Write Quadrants(1).")

    def prepare(self, batch: Batch) -> Batch:
        """`x` of shape `(N, n)` and `y` of shape `(N, m)`, from a `batch` with images `x` of shape `(N, C, H, W)`."""
        batch = named_tensors("Quadrants", batch)
        shapes = {name: tuple(tensor.shape) for name, tensor in batch.items()}
        if batch.keys() == {"x", "y"} and batch["x"].dim() == batch["y"].dim() == 2:
            return batch
        if len(shapes.get("x", ())) != 4:
            raise DataError(f"Quadrants requires images x (N, C, H, W), got {shapes}.")
        return self.prepare_rows(Scale().prepare(batch))

    def prepare_rows(self, batch: Batch) -> Batch:
        """As `prepare`, for some rows of a `batch`."""
        if batch["x"].dim() == 2:
            return batch
        parts = [part.flatten(1) for part in self._quadrants(batch["x"])]
        return {"x": torch.cat(parts[self.seen :], 1), "y": torch.cat(parts[: self.seen], 1)}

    def __call__(self, batch: Batch) -> Batch:
        """Both parts of a prepared `batch`, as floats in [0, 1]."""
        return {name: Scale()({"x": part})["x"] for name, part in batch.items()}

    def join(self, x: Tensor, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """The images `(B, *shape)` whose parts are `x` and `y`.

        Args:
            x: the pixels that are not seen, `(B, n)`.
            y: the pixels that are seen, `(B, m)`.
            shape: the shape of an image, `(C, H, W)`.

        Raises:
            ShapeError: the parts do not make images of that shape.
        """
        pixels, images = torch.cat([y, x], 1), x.new_zeros(len(x), *shape)
        if pixels.shape[1:].numel() != images.shape[1:].numel():
            raise ShapeError(f"Parts of {y.shape[1]} and {x.shape[1]} pixels do not make images of shape {shape}.")
        parts = self._quadrants(images)
        sizes = [part[0].numel() for part in parts]
        for part, values in zip(parts, pixels.split(sizes, 1), strict=True):
            part.copy_(values.reshape(part.shape))
        return images

    def _quadrants(self, images: Tensor) -> list[Tensor]:
        """Views of the four quadrants, in the order in which they are seen."""
        return [images.tensor_split(2, -2)[row].tensor_split(2, -1)[column] for row, column in _ORDER]
