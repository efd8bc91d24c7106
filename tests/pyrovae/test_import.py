"""What an import needs: torch, Pyro and NumPy alone; and which names `import pyrovae` gives."""

import subprocess
import sys

import pytest

import pyrovae

OPTIONAL = ["matplotlib", "torchvision", "tqdm", "PIL", "sklearn", "scipy", "pandas", "arviz", "mlxtend", "xarray"]
ROOMS = ["models", "guides", "networks", "data", "inference"]


def run(code):
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_needs_torch_pyro_and_numpy_alone(room):
    """Pyro itself needs tqdm, so it is imported before the others are blocked."""
    run(f"import sys, pyro; sys.modules.update(dict.fromkeys({OPTIONAL})); import pyrovae.{room}")


def test_a_room_is_imported_at_first_use():
    loaded = "print(*(name in sys.modules for name in ('torch', 'pyrovae.models', 'pyrovae.guides')));"
    seen = run(f"import sys, pyrovae; {loaded} print(pyrovae.models.VAE.__name__); {loaded}")
    assert seen == ["False", "False", "False", "VAE", "True", "True", "False"]


def test_the_names_of_the_package(says):
    assert set(ROOMS) | {"plots", "report", "errors", "__version__"} <= set(dir(pyrovae))
    assert pyrovae.plots.__name__ == "pyrovae.plots"
    with says(AttributeError, "'pyrovae'", "'modles'"):
        pyrovae.modles  # noqa: B018
