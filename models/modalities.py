"""What programs of several modalities share: arguments named after them, and the values that are there."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae.checks import check_names
from pyrovae.data.modalities import flag_of
from pyrovae.errors import PairError, SettingError, ShapeError

__all__ = ["Modality", "modality_names", "observed_modalities", "signature_of"]

RESERVED = {"z", "size", "data_size"}
"""Names that a modality cannot have: those of the latent and of other arguments."""


class Modality(NamedTuple):
    """One modality of a batch.

    Attributes:
        value: its values, `(B, *event)`.
        present: where it was observed, bool `(B,)`; None where it always was.
    """

    value: Tensor
    present: Tensor | None

    def filled(self, value: Tensor | float = 0) -> Tensor:
        """The values, with another one where they are missing, `(B, *event)`.

        Args:
            value: what to put there; its shape broadcasts to that of the values.
        """
        if self.present is None:
            return self.value
        present = self.present.reshape(-1, *[1] * (self.value.dim() - 1))
        return torch.where(present, self.value, value)


def modality_names(owner: str, parts: Mapping[str, Any], *others: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the modalities, in their order.

    Args:
        owner: the class that requires them, for the error.
        parts: a network or a likelihood of each modality, by name.
        others: further parts, of the same names.

    Raises:
        SettingError: there are none, a name is taken, or the parts differ in their names.
    """
    names = tuple(check_names("names of modalities", list(parts)))
    taken = [name for name in names if name in RESERVED or name in map(flag_of, names) or not name.isidentifier()]
    if not names or taken or any(set(other) != set(names) for other in others):
        raise SettingError(
            f"{owner} requires modalities of one set of names, other than {', '.join(sorted(RESERVED))}, got "
            f"{' and '.join(str(list(part)) for part in (parts, *others))}. "
            'Write {"x": ..., "y": ...} with the names of the tensors of a batch.'
        )
    return names


def signature_of(names: Sequence[str], *more: str) -> inspect.Signature:
    """The signature of a program that takes each modality and its flag by name, and nothing else.

    Args:
        names: the names of the modalities.
        more: further arguments.
    """
    every = [*names, *map(flag_of, names), *more]
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature([inspect.Parameter(name, kind, default=None) for name in every])


def observed_modalities(owner: str, names: Sequence[str], given: Mapping[str, Tensor | None]) -> dict[str, Modality]:
    """The modalities that a program was given, in their order, by name.

    Args:
        owner: the name of the program's class, for the error.
        names: the names of the modalities.
        given: the arguments of the program.

    Raises:
        PairError: an argument is neither a modality nor a flag of one.
        ShapeError: a flag is not of shape `(B,)`.
    """
    unknown = [name for name in given if name not in (*names, *map(flag_of, names))]
    if unknown:
        raise PairError(
            f"{owner} requires tensors named {', '.join(names)}, and flags {', '.join(map(flag_of, names))}, got "
            f"'{unknown[0]}'. Build it with a modality of that name, or remove the argument."
        )
    found = {}
    for name in names:
        value, present = given.get(name), given.get(flag_of(name))
        if value is not None:
            found[name] = Modality(value, None if present is None else _flag(owner, name, value, present))
    return found


def _flag(owner: str, name: str, value: Tensor, present: Tensor) -> Tensor:
    if present.shape != value.shape[:1]:
        raise ShapeError(
            f"{owner} requires {flag_of(name)} of shape ({len(value)},), true where a data point has '{name}', got "
            f"{tuple(present.shape)} for {name} {tuple(value.shape)}. Write {flag_of(name)} = torch.ones(len({name}), "
            "dtype=torch.bool) where none is missing."
        )
    return present.bool()
