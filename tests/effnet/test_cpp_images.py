"""cpp_infer's decoding and preprocessing: what the network is fed is effnet.data's, to the bit."""

from __future__ import annotations

import json
import struct
import subprocess
import zlib
from pathlib import Path

import cpp
import numpy as np
import pytest
from PIL import Image

from effnet.data import Preprocessing
from effnet.data.decode import decode
from effnet.data.errors import UnreadableImage
from effnet.data.preprocess import NORMALIZATION

pytestmark = pytest.mark.slow

IMAGENET = NORMALIZATION["imagenet"]


@pytest.fixture(scope="module")
def program() -> Path:
    return cpp.build("effnet-preprocess")


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Smooth shades with noise: every value, edges that overshoot."""
    draw = np.random.RandomState(width * 1000 + height)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 255 / width, y * 255 / height, (x + y) % 256], axis=2)
    pixels = np.clip(base + draw.normal(0, 60, base.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def fed(
    program: Path, folder: Path, images: list[Path], preprocessing: Preprocessing
) -> tuple[np.ndarray, list[str]]:
    """What the program makes of `images`, and what it says of each."""
    record, out = folder / "net.mindir.json", folder / "out.bin"
    record.write_text(json.dumps({"preprocessing": preprocessing.to_dict()}))
    done = subprocess.run(
        [program, record, out, *images], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = np.fromfile(out, np.float32)
    shape = (len(images), 3, preprocessing.height_px, preprocessing.width_px)
    return found.reshape(shape), done.stdout.splitlines()


def check_same(program: Path, folder: Path, images: list[Path], preprocessing: Preprocessing):
    found, printed = fed(program, folder, images, preprocessing)
    assert dict(zip(images, printed, strict=True)) == dict.fromkeys(images, "ok")
    for path, own in zip(images, found, strict=True):
        expected = preprocessing.apply(decode(str(path)))
        assert expected.std() > 0.1, path
        np.testing.assert_array_equal(own, expected, err_msg=str(path))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("resize_px", "width_px", "height_px"), [(280, 260, 260), (37, 32, 31), (64, 64, 64)]
)
def test_sizes_crops_and_filters(program, tmp_path, interpolation, resize_px, width_px, height_px):
    preprocessing = Preprocessing(resize_px, width_px, height_px, interpolation, *IMAGENET)
    sizes = [(500, 375), (375, 500), (281, 280), (280, 333), (64, 64), (37, 91), (9, 7), (1, 1)]
    images = []
    for width, height in sizes:
        images.append(tmp_path / f"{width}x{height}.png")
        photo(width, height).save(images[-1])
    found, printed = fed(program, tmp_path, images, preprocessing)
    assert printed == ["ok"] * len(images)
    for path, own in zip(images, found, strict=True):
        expected = preprocessing.apply(decode(str(path)))
        np.testing.assert_array_equal(own, expected, err_msg=str(path))


def test_a_crop_larger_than_the_image_is_black_around(program, tmp_path):
    path = tmp_path / "a.png"
    photo(50, 40).save(path)
    check_same(program, tmp_path, [path], Preprocessing(32, 47, 41))


def test_jpegs_of_every_kind(program, tmp_path):
    images = []

    def save(name: str, image: Image.Image, **kinds: object) -> None:
        images.append(tmp_path / f"{name}.JPEG")
        image.save(images[-1], "JPEG", **kinds)

    for sampling in ("4:4:4", "4:2:2", "4:2:0"):
        for width, height in ((123, 97), (96, 96)):
            save(f"{width} {sampling}", photo(width, height), subsampling=sampling)
    save("coarse", photo(97, 123), quality=15)
    save("progressive", photo(200, 150), progressive=True, optimize=True)
    save("grey", photo(120, 90, "L"))
    save("cmyk", photo(120, 90, "CMYK"), quality=95)
    save("rgb kept", photo(120, 90), keep_rgb=True)
    save("restarts", photo(120, 90), restart_marker_blocks=4)
    turned = Image.Exif()
    turned[0x0112] = 6
    save("turned", photo(120, 90), exif=turned)
    check_same(program, tmp_path, images, Preprocessing(80, 64, 60, "bicubic"))


def png(
    folder: Path,
    name: str,
    depth: int,
    colour: int,
    rows: bytes,
    *,
    interlaced: bool = False,
    **chunks: bytes,
) -> Path:
    """A PNG of 8 x 8 pixels of kinds that Pillow does not write; `rows` begin with their filter."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    path = folder / f"{name}.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, depth, colour, 0, 0, interlaced))
        + b"".join(chunk(kind.encode(), data) for kind, data in chunks.items())
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


def test_pngs_of_every_kind(program, tmp_path):
    images = []

    def save(name: str, image: Image.Image, **kinds: object) -> None:
        images.append(tmp_path / f"{name}.png")
        image.save(images[-1], **kinds)

    save("grey", photo(60, 50, "L"))
    save("bits", photo(60, 50, "1"))
    save("palette", photo(60, 50).quantize(200))
    save("palette 4 bits", photo(60, 50).quantize(16))
    save("palette 2 bits", photo(60, 50).quantize(4))
    save("see-through palette", photo(60, 50).quantize(50), transparency=3)
    save("grey see-through", photo(60, 50, "L"), transparency=7)
    save("colour see-through", photo(60, 50), transparency=(1, 2, 3))
    alpha = photo(60, 50).convert("RGBA")
    alpha.putalpha(photo(60, 50, "L"))
    save("alpha", alpha)
    save("grey alpha", alpha.convert("LA"))
    deep = np.random.RandomState(3).randint(0, 65536, (50, 60)).astype(np.uint16)
    save("grey 16", Image.fromarray(deep))

    draw = np.random.RandomState(4)

    def rows(length: int, count: int = 8) -> bytes:
        return b"".join(b"\0" + draw.bytes(length) for _ in range(count))

    for depth, colour, length in ((2, 0, 2), (4, 0, 4), (16, 2, 48), (16, 4, 32), (16, 6, 64)):
        images.append(png(tmp_path, f"{depth} bits of kind {colour}", depth, colour, rows(length)))
    dark = {"gAMA": struct.pack(">I", 30000), "bKGD": bytes(6)}
    images.append(png(tmp_path, "gamma", 8, 2, rows(24), **dark))
    # Adam7's seven passes over 8 x 8 pixels: their widths and heights.
    passes = ((1, 1), (1, 1), (2, 1), (2, 2), (4, 2), (4, 4), (8, 4))
    woven = b"".join(rows(width * 3, height) for width, height in passes)
    images.append(png(tmp_path, "interlaced", 8, 2, woven, interlaced=True))
    check_same(program, tmp_path, images, Preprocessing(40, 32, 32))


def test_files_that_effnet_cannot_read_are_not_read_here(program, tmp_path):
    whole = {name: tmp_path / name for name in ("a.jpg", "a.png")}
    for path in whole.values():
        photo(90, 70).save(path)
    jpeg, picture = (path.read_bytes() for path in whole.values())
    broken = {
        "half.jpg": jpeg[: len(jpeg) // 2],
        "half.png": picture[: len(picture) // 2],
        "no end.jpg": jpeg[:-2],
        "header.jpg": jpeg[:20],
        "header.png": picture[:20],
        "empty.png": b"",
        "text.jpg": b"no image",
        "checksum.png": picture.replace(b"IHDR\0\0\0\x5a", b"IHDR\0\0\0\x5b"),
    }
    images = []
    for name, content in broken.items():
        images.append(tmp_path / name)
        images[-1].write_bytes(content)
    images += [tmp_path / "missing.png", whole["a.jpg"]]
    found, printed = fed(program, tmp_path, images, Preprocessing(64, 64, 64))
    for path, reason in zip(images[:-1], printed, strict=False):
        with pytest.raises(UnreadableImage):
            decode(str(path))
        assert reason not in ("", "ok"), path
    assert printed[-2:] == ["No such file or directory", "ok"]
    assert printed[list(broken).index("text.jpg")] == "not an image that can be read"
    assert not found[:-1].any()


def test_a_format_that_is_not_read_is_named(program, tmp_path):
    images = []
    for ending, name in (("bmp", "BMP"), ("webp", "WebP"), ("gif", "GIF"), ("tif", "TIFF")):
        images.append((tmp_path / f"a.{ending}", name))
        photo(30, 30).save(images[-1][0])
    _, printed = fed(program, tmp_path, [path for path, _ in images], Preprocessing(32, 32, 32))
    assert printed == [f"a {name} file; only JPEG and PNG are read here" for _, name in images]


def test_an_invalid_record_is_an_error_with_its_place(program, tmp_path):
    record = tmp_path / "net.mindir.json"

    def error(text: str) -> str:
        record.write_text(text)
        done = subprocess.run(
            [program, record, tmp_path / "out.bin", "a.png"],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == 1
        return done.stderr

    assert "expected ':' at byte 5" in error('{"a" 1}')
    assert "it has no preprocessing" in error('{"a": [1, -2.5e3, true, null, "\\u00e9\\n"]}')
    values = Preprocessing(32, 32, 32).to_dict()
    for key, value, text in (
        ("resize_px", 0, "resize_px is not a number of pixels"),
        ("interpolation", "nearest", "interpolation is nearest, not bilinear or bicubic"),
        ("mean", [0.5], "mean is not one number a channel"),
    ):
        assert text in error(json.dumps({"preprocessing": {**values, key: value}}))
