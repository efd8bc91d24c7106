"""Images of one's own: what is read is what the file holds, or an error names the file."""

import struct
import zlib

import numpy as np
import pytest

from pyrovae.data import load
from pyrovae.errors import DataError

images = pytest.importorskip("PIL.Image")

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n%%EOF\n"


def only(folder, **options):
    """The one image of a folder, `(C, H, W)`."""
    return load(f"folder:{folder}", valid=0, test=0, **options).train["x"][0].numpy()


def png(path, pixels, colour):
    """A PNG of 16 bits per channel, which Pillow reads and does not write."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_are_refused_in_every_mode(tmp_path, colour, channels, says):
    png(tmp_path / "a.png", np.full((4, 5, channels), 4000), colour)
    with says(DataError, "a.png", "more than 8 bits per channel", "Convert it to 8 bits"):
        only(tmp_path)


def test_sixteen_bits_of_a_tiff_are_refused(tmp_path, says):
    images.fromarray(np.full((4, 5), 4000, np.uint16)).save(tmp_path / "a.tif")
    with says(DataError, "a.tif", "more than 8 bits"):
        only(tmp_path)


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.webp", "a.png"])
def test_pages_and_frames_are_refused(tmp_path, name, says):
    pages = [images.new("RGB", (5, 4), colour) for colour in ("red", "green", "blue")]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    with says(DataError, name, "3 pages or frames", "file of its own"):
        only(tmp_path)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_stays_one_channel_with_transparency_or_without(tmp_path, mode):
    images.new(mode, (5, 4), {"1": 1, "L": 200, "LA": (200, 7)}[mode]).save(tmp_path / "a.png")
    assert only(tmp_path).tolist() == np.full((1, 4, 5), 255 if mode == "1" else 200).tolist()


def test_grey_with_a_transparent_level_stays_one_channel(tmp_path):
    images.new("L", (5, 4), 200).save(tmp_path / "a.png", transparency=200)
    assert only(tmp_path).tolist() == np.full((1, 4, 5), 200).tolist()


@pytest.mark.parametrize(
    ("mode", "colour"), [("RGB", (1, 2, 3)), ("RGBA", (1, 2, 3, 9)), ("P", 0), ("CMYK", (0, 0, 0, 0))]
)
def test_colour_has_three_channels(tmp_path, mode, colour):
    name = "a.tif" if mode == "CMYK" else "a.png"
    images.new(mode, (5, 4), colour).save(tmp_path / name)
    x = only(tmp_path)
    assert x.shape == (3, 4, 5)
    assert mode not in ("RGB", "RGBA") or x[:, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", ["cat.png", "cat.jpg", "cat.tif"])
def test_no_other_program_is_started_for_a_file_of_another_kind(tmp_path, name, monkeypatch, says):
    """Pillow goes by the content, and gives an EPS to Ghostscript, which runs programs in PostScript."""
    plugin = pytest.importorskip("PIL.EpsImagePlugin")
    monkeypatch.setattr(plugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript was started"))
    (tmp_path / name).write_bytes(EPS)
    with images.open(tmp_path / name) as alone:
        assert alone.format == "EPS"  # what Pillow alone would take it for
    with says(DataError, name, "not a readable image"):
        only(tmp_path)


@pytest.mark.parametrize("form", ["PPM", "ICO", "TGA", "PCX", "SGI", "DDS", "ICNS"])
def test_other_formats_are_not_opened_under_a_known_name(tmp_path, form, says):
    try:
        images.new("RGB", (32, 32)).save(tmp_path / "a.png", format=form)
    except (KeyError, OSError) as error:
        pytest.skip(f"Pillow does not write {form}: {error}")
    with says(DataError, "a.png", "not a readable image"):
        only(tmp_path)
