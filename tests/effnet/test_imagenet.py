"""`data imagenet` on small archives of ImageNet's structure."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from effnet.__main__ import main
from effnet.data import imagenet

CLASSES = ("n00000001", "n00000002", "n00000003")


def tar(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def image(name: str) -> bytes:
    return name.encode() * 700


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """3 classes of 4 training images, 6 validation images."""
    inner = {
        f"{name}.tar": tar({f"{name}_{i}.JPEG": image(f"{name}{i}") for i in range(4)})
        for name in CLASSES
    }
    (tmp_path / "train.tar").write_bytes(tar(inner))
    val = {f"ILSVRC2012_val_{i:08d}.JPEG": image(str(i)) for i in range(1, 7)}
    (tmp_path / "val.tar").write_bytes(tar(val))
    (tmp_path / "labels.txt").write_text("\n".join(CLASSES * 2) + "\n")
    return tmp_path


def words(folder: Path, **given: str) -> list[str]:
    files = {"train": "train.tar", "val": "val.tar", "labels": "labels.txt", "out": "out", **given}
    return ["data", "imagenet", *(f"--{key}={folder / name}" for key, name in files.items())]


def placed(folder: Path) -> dict[str, bytes]:
    out = folder / "out"
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_images_are_sorted_into_classes(archives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words(archives), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["classes"], found["train"], found["val"]) == (3, 12, 6)
    assert "3 classes, ImageNet has 1,000" in found["differences"]
    files = placed(archives)
    assert len(files) == 18
    assert files["train/n00000002/n00000002_3.JPEG"] == image("n000000023")
    assert files["val/n00000001/ILSVRC2012_val_00000004.JPEG"] == image("4")


def test_labels_can_name_the_images_or_be_the_devkit(archives: Path) -> None:
    from scipy.io import savemat

    assert main(words(archives)) == 0
    want = placed(archives)
    lines = [f"ILSVRC2012_val_{i + 1:08d}.JPEG {CLASSES[i % 3]}" for i in range(6)]
    (archives / "named.txt").write_text("\n".join(reversed(lines)))
    assert main(words(archives, labels="named.txt", out="named")) == 0
    kind = np.dtype([("ILSVRC2012_ID", "O"), ("WNID", "O")])
    synsets = np.array([(3, CLASSES[0]), (1, CLASSES[1]), (2, CLASSES[2])], kind)
    meta = io.BytesIO()
    savemat(meta, {"synsets": synsets})
    truth = {"devkit/data/meta.mat": meta.getvalue()}
    truth["devkit/data/ILSVRC2012_validation_ground_truth.txt"] = b"3\n1\n2\n3\n1\n2\n"
    (archives / "devkit.tar.gz").write_bytes(tar(truth))
    assert main(words(archives, labels="devkit.tar.gz", out="devkit")) == 0
    for name in ("named", "devkit"):
        other = {str(p.relative_to(archives / name)) for p in (archives / name).rglob("*.JPEG")}
        assert other == set(want)


def test_an_interrupted_call_is_repeated(archives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = archives / "out"
    paths = [archives / name for name in ("train.tar", "val.tar", "labels.txt")]

    def stop_at_7(count: int) -> None:
        if count == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imagenet.prepare(*paths, out, stop_at_7)
    assert len(placed(archives)) == 7
    half = out / "train" / CLASSES[0] / f"{CLASSES[0]}_0.JPEG"
    half.write_bytes(b"cut off")
    kept = out / "train" / CLASSES[0] / f"{CLASSES[0]}_1.JPEG"
    before = kept.stat().st_mtime_ns
    assert imagenet.prepare(*paths, out).problems == []
    assert len(placed(archives)) == 18
    assert half.read_bytes() == image(f"{CLASSES[0]}0")
    assert kept.stat().st_mtime_ns == before


def test_a_damaged_member_is_named_and_the_rest_is_written(
    archives: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tar({f"{CLASSES[0]}_{i}.JPEG": image("x") for i in range(4)})
    members = {f"{CLASSES[0]}.tar": whole[: len(whole) // 2], f"{CLASSES[1]}.tar": b"no tar" * 200}
    members[f"{CLASSES[2]}.tar"] = tar({f"{CLASSES[2]}_0.JPEG": image("y")})
    (archives / "train.tar").write_bytes(tar(members))
    assert main(words(archives)) == 1
    said = capsys.readouterr()
    assert f"train.tar: {CLASSES[0]}.tar" in said.err
    assert f"train.tar: {CLASSES[1]}.tar: damaged" in said.err
    assert "→ download the archive again" in said.err
    assert f"train/{CLASSES[2]}/{CLASSES[2]}_0.JPEG" in placed(archives)
    trained = [data for path, data in placed(archives).items() if path.startswith("train/")]
    assert set(trained) == {image("x"), image("y")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train": "labels.txt"}, "is not a tar archive"),
        ({"train": "none.tar"}, "none.tar: No such file"),
        ({"labels": "none.txt"}, "cannot be read as the classes"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    archives: Path, capsys: pytest.CaptureFixture[str], change: dict[str, str], said: str
) -> None:
    assert main(words(archives, **change)) == 3
    assert said in capsys.readouterr().err


def test_wrong_labels_are_named(archives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (archives / "labels.txt").write_text("n00000001\ncat\n")
    assert main(words(archives)) == 3
    assert "labels.txt, line 2: 'cat' is not a class" in capsys.readouterr().err
    (archives / "labels.txt").write_text("n00000001\n")
    assert main(words(archives)) == 1
    assert "ILSVRC2012_val_00000002.JPEG is not in" in capsys.readouterr().err


def test_names_of_an_archive_cannot_leave_the_folder(archives: Path) -> None:
    inner = tar({"../../evil.JPEG": image("e"), "/abs/evil2.JPEG": image("f")})
    (archives / "train.tar").write_bytes(tar({f"../{CLASSES[0]}.tar": inner}))
    assert main(words(archives)) == 0
    assert {p for p in placed(archives) if "evil" in p} == {
        f"train/{CLASSES[0]}/evil.JPEG",
        f"train/{CLASSES[0]}/evil2.JPEG",
    }
    assert not list(archives.parent.rglob("evil*.JPEG")) or all(
        "out/train" in str(p) for p in archives.parent.rglob("evil*.JPEG")
    )
