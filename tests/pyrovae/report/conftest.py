"""What the tests of the report share: how a page is read."""

import base64
import io
import json
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def content():
    """The data inside a page."""
    return lambda path: json.loads(re.search(r'id="report">(.*?)</script>', path.read_text(), re.DOTALL)[1])


@pytest.fixture
def kinds(content):
    """How many sections of each kind a page has."""
    return lambda path: Counter(section["kind"] for section in content(path)["sections"])


@pytest.fixture
def sheet():
    """The pixels of an album's images."""
    return lambda album: np.asarray(Image.open(io.BytesIO(base64.b64decode(album["source"].split(",")[1]))))
