"""What files hold in practice, and what of a JPEG is decoded."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from effnet.data.decode import decode, decode_part, header, inspect
from effnet.data.errors import UnreadableImage

RED = (200, 40, 30)


def smooth(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    channels = [127 + 100 * np.sin(x / 40), 127 + 100 * np.cos(y / 30), (x + y) % 200]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


@pytest.mark.parametrize(
    ("name", "make", "want"),
    [
        ("rgb.png", lambda: Image.new("RGB", (5, 4), RED), RED),
        ("grey.jpg", lambda: Image.new("L", (5, 4), 90), (90, 90, 90)),
        ("cmyk.jpg", lambda: Image.new("RGB", (5, 4), RED).convert("CMYK"), RED),
        ("palette.gif", lambda: Image.new("RGB", (5, 4), RED).convert("P", palette=1), RED),
        ("alpha.png", lambda: Image.new("RGBA", (5, 4), (*RED, 120)), RED),
        ("grey-alpha.png", lambda: Image.new("LA", (5, 4), (90, 120)), (90, 90, 90)),
        ("bits.png", lambda: Image.new("1", (5, 4), 1), (255, 255, 255)),
        (
            "deep.png",
            lambda: Image.fromarray(np.full((4, 5), 0x5A77, np.uint16)),
            (0x5A, 0x5A, 0x5A),
        ),
        ("deep.tif", lambda: Image.fromarray(np.full((4, 5), 0xFF00, np.uint16)), (255,) * 3),
    ],
)
def test_every_kind_becomes_rgb(tmp_path: Path, name: str, make, want) -> None:
    path = tmp_path / name
    make().save(path)
    image = decode(str(path))
    assert (image.mode, image.size) == ("RGB", (5, 4))
    assert np.abs(np.asarray(image).astype(int) - want).max() <= 4
    assert header(str(path)) == (5, 4)


def test_transparent_palette_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("P", (3, 3), 1)
    image.putpalette([0, 0, 0, *RED])
    image.save(tmp_path / "p.png", transparency=b"\x00\x80")
    assert decode(str(tmp_path / "p.png")).getpixel((0, 0)) == RED


def test_png_in_a_jpeg_name_is_read_by_its_content(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), RED).save(tmp_path / "a.JPEG", format="png")
    assert decode(str(tmp_path / "a.JPEG")).getpixel((0, 0)) == RED


def test_exif_orientation_is_not_applied_but_found(tmp_path: Path) -> None:
    image = Image.new("RGB", (6, 3), RED)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert decode(str(tmp_path / "turned.jpg")).size == (6, 3)
    assert inspect(str(tmp_path / "turned.jpg")) == ((6, 3), True)
    image.save(tmp_path / "plain.jpg")
    assert inspect(str(tmp_path / "plain.jpg")) == ((6, 3), False)


def test_unreadable_files_have_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = tmp_path / "good.jpg"
    smooth(64, 64).save(good)
    cases = {
        "cut.jpg": (good.read_bytes()[:700], "truncated"),
        "empty.jpg": (b"", "not an image"),
        "text.jpg": (b"hello", "not an image"),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / name).write_bytes(content)
        for read in (decode, inspect, lambda p: decode_part(p, lambda w, h: (0, 0, w, h), 8)):
            with pytest.raises(UnreadableImage, match=reason):
                read(str(tmp_path / name))
    with pytest.raises(UnreadableImage, match="No such file"):
        decode(str(tmp_path / "gone.jpg"))
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(UnreadableImage, match="directory"):
        decode(str(tmp_path / "folder.jpg"))
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(UnreadableImage, match="no known range"):
        decode(str(tmp_path / "float.tif"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableImage, match="decompression bomb"):
        decode(str(good))
    assert header(str(tmp_path / "text.jpg")) is None


@pytest.mark.parametrize("seed", range(60))
def test_damaged_files_raise_no_other_error(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = tmp_path / "x"
    kind = ("jpeg", "png", "gif", "webp", "tiff", "bmp")[seed % 6]
    smooth(40, 30).save(path, format=kind)
    data = bytearray(path.read_bytes())
    for at in rng.integers(0, min(len(data), 400), size=8):
        data[at] = rng.integers(256)
    path.write_bytes(data[: rng.integers(1, len(data) + 1)])
    with contextlib.suppress(UnreadableImage):
        assert decode(str(path)).mode == "RGB"


@pytest.mark.parametrize(
    ("side", "crop", "scale"),
    [(100, 100, 1), (100, 199, 1), (100, 200, 2), (150, 301, 2), (100, 400, 4), (25, 400, 8)],
)
def test_jpeg_is_decoded_no_larger_than_the_crop_needs(
    tmp_path: Path, side: int, crop: int, scale: int
) -> None:
    path = tmp_path / "x.jpg"
    smooth(400, 400).save(path, quality=95)
    box = (0, 0, crop, crop)
    part = decode_part(str(path), lambda w, h: box, side)
    assert part.original_size == (400, 400)
    assert part.image.size == (-(-400 // scale),) * 2
    whole = decode(str(path))
    size = (side, side)
    got = np.asarray(part.image.resize(size, Image.Resampling.BILINEAR, part.box)).astype(int)
    want = np.asarray(whole.resize(size, Image.Resampling.BILINEAR, box)).astype(int)
    assert np.abs(got - want).mean() < 2.5
