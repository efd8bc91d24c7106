"""What the example scripts share: flags, training, the closing table and the pictures.

A script passes values from one function to the next:

    dataset = load_data(flags)
    trained = train(model, guide, transform, dataset, flags)
    measured = score(trained, flags)
    write_summary(trained, measured, flags)
    write_pictures(trained, flags.out)

What a flag may be is in `values`: `p.add_argument("--latent", type=values.positive_int)`.
"""

from pyrovae.examples._shared.comparing import write_comparison_pictures
from pyrovae.examples._shared.flags import DefaultFolder, add_binarize, complete, derive, explained, parser
from pyrovae.examples._shared.pictures import save_picture, write_pictures
from pyrovae.examples._shared.scoring import score, scored
from pyrovae.examples._shared.script import main
from pyrovae.examples._shared.summary import Row, write_comparison, write_summary
from pyrovae.examples._shared.training import (
    Trained,
    load_data,
    rising_weight,
    schedule,
    starting,
    train,
    transform_for,
)

__all__ = [
    "DefaultFolder",
    "Row",
    "Trained",
    "add_binarize",
    "complete",
    "derive",
    "explained",
    "load_data",
    "main",
    "parser",
    "rising_weight",
    "save_picture",
    "schedule",
    "score",
    "scored",
    "starting",
    "train",
    "transform_for",
    "write_comparison",
    "write_comparison_pictures",
    "write_pictures",
    "write_summary",
]
