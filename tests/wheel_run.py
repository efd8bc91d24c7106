"""Install the wheel alone into an empty environment; there, list the examples, train one on real digits, and report.

python tests/wheel_run.py                        needs dist/*.whl, and an index or a cache to install torch from
python tests/wheel_run.py --python python3.13    another Python
python tests/wheel_run.py --seconds 90           fails where training and report take longer

The commands run in an empty folder, without the sources, and without network where this system can take it away.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
NO_NETWORK = ["unshare", "--map-root-user", "--net"]
"""What runs a command without network, on Linux."""


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--python", default=sys.executable, help="the Python of the environment")
    p.add_argument("--seconds", type=float, default=float("inf"), help="most seconds for training and report")
    p.add_argument(
        "--environment",
        type=lambda text: Path(text).resolve(),
        default=ROOT / "build" / "wheel-run",
        help="where to make it",
    )
    return p.parse_args()


def install(python, environment):
    """Make the environment, install the wheel with the extra `data`, and return its folder of commands."""
    (wheel,) = (ROOT / "dist").glob("*.whl")
    shutil.rmtree(environment, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(environment)], check=True)
    subprocess.run([environment / "bin" / "python", "-m", "pip", "install", "--quiet", f"{wheel}[data]"], check=True)
    return environment / "bin"


def without_network():
    """The words before a command that take its network away; none where this system cannot."""
    tried = shutil.which(NO_NETWORK[0]) and subprocess.run([*NO_NETWORK, "true"], capture_output=True).returncode == 0
    return NO_NETWORK if tried else []


def main():
    """Install, run, check; the exit status is 0 where all is well."""
    flags = arguments()
    start = time.monotonic()
    commands = install(flags.python, flags.environment)
    print(f"installed in {time.monotonic() - start:.0f} s", flush=True)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYROVAE"))}
    with tempfile.TemporaryDirectory() as folder:

        def pyrovae(*words):
            line = [*without_network(), str(commands / "pyrovae"), *words]
            subprocess.run(line, cwd=folder, env=plain, check=True)

        pyrovae("list")
        start = time.monotonic()
        pyrovae("vae", "--report")
        seconds = time.monotonic() - start
        report = Path(folder) / "runs" / "vae" / "report.html"
        size = report.stat().st_size
        pyrovae("report", "runs/vae")
    print(f"pyrovae vae --report took {seconds:.0f} s; report.html has {size / 1e6:.1f} MB")
    return 0 if seconds <= flags.seconds and size > 1e5 else 1


if __name__ == "__main__":
    sys.exit(main())
