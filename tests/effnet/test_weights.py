"""Weights in and out: names, errors, manifests, files, the command line."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path

import checkpoints
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from effnet.__main__ import main
from effnet.weights import convert, files, manifest, names, transfer

pytestmark = pytest.mark.mindspore

CLASSES = 7
DIGESTS = json.loads((Path(__file__).parent / "golden" / "names.json").read_text())


def foreign(source, variant="b0", dtype=np.float32):
    """A value for every tensor that a foreign network holds, used or not."""
    shapes = {t.theirs: t.their_shape for t in names.tensor_names(source, variant, CLASSES)}
    shapes |= names.unused_shapes(source, variant)
    draw = np.random.RandomState(0)
    return {name: draw.random_sample(shape).astype(dtype) for name, shape in shapes.items()}


def imported(tmp_path, source="timm", **settings):
    file, out = tmp_path / "in.safetensors", tmp_path / "out.ckpt"
    save_file(foreign(source), file)
    known = {"variant": "b0", "padding": "symmetric", "num_classes": CLASSES, **settings}
    return out, transfer.import_weights(file, source, out=out, **known)


# The digests are of the names and shapes in the networks themselves: golden/make_golden.py.
@pytest.mark.parametrize(("source", "variant"), [(s, v) for s, d in DIGESTS.items() for v in d])
def test_names_and_shapes_are_those_of_the_source(source, variant):
    shapes = {t.theirs: t.their_shape for t in names.tensor_names(source, variant, 1000)}
    shapes |= names.unused_shapes(source, variant)
    listed = sorted((name, list(shape)) for name, shape in shapes.items())
    assert hashlib.sha256(json.dumps(listed).encode()).hexdigest() == DIGESTS[source][variant]


def test_the_reference_has_94_biases_more():
    shapes = names.unused_shapes("reference", "b2")
    unused = sum(int(np.prod(s)) for n, s in shapes.items() if n.endswith(".bias"))
    shapes |= {t.theirs: t.their_shape for t in names.tensor_names("reference", "b2", 1000)}
    assert sum(len(s) == 4 and n.endswith(".bias") for n, s in shapes.items()) == 94
    trained = [n for n in shapes if not n.endswith(("moving_mean", "moving_variance"))]
    assert sum(int(np.prod(shapes[n])) for n in trained) == 9_142_378
    assert unused + 2 * (32 + 16) + 32 * 32 + 16 * 16 == 9_142_378 - 9_109_994


# The arrays of the larger ones are hundreds of MB; their names are held by the digests.
@pytest.mark.parametrize("variant", ["b0", "b1", "b2", "b3"])
@pytest.mark.parametrize("source", ["timm", "torchvision"])
def test_round_trip_is_bit_equal(source, variant):
    first = foreign(source, variant)
    ours = convert.to_ours(first, source, variant, CLASSES)
    again = convert.from_ours(ours, source, variant, CLASSES)
    assert again.keys() == first.keys()
    assert all(np.array_equal(again[name], first[name]) for name in first)


@pytest.mark.parametrize("source", ["timm", "torchvision", "reference"])
def test_import_export_import_through_files(tmp_path, source):
    suffix = ".ckpt" if source == "reference" else ".safetensors"
    first, second = tmp_path / "one.ckpt", tmp_path / "two.ckpt"
    file, exported = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    given = foreign(source)
    files.write_tensors(file, given)
    network = {"variant": "b0", "padding": "same", "num_classes": CLASSES}
    transfer.import_weights(file, source, out=first, **network)
    transfer.export_weights(first, source, exported)
    transfer.import_weights(exported, source, out=second, **network)
    assert first.read_bytes() == second.read_bytes()
    back = files.read_tensors(exported)
    used = [t.theirs for t in names.tensor_names(source, "b0", CLASSES)]
    assert all(np.array_equal(back[name], given[name]) for name in used)
    assert back.keys() == given.keys()


def test_bookkeeping_of_torch_and_mindspore_is_ignored():
    timm = foreign("timm") | {"bn1.num_batches_tracked": np.array(3)}
    convert.to_ours(timm, "timm", "b0", CLASSES)
    reference = foreign("reference") | {
        "global_step": np.array([3]),
        "learning_rate": np.ones(9, np.float32),
        "moment.stem.0.conv.weight": np.ones((32, 3, 3, 3), np.float32),
    }
    convert.to_ours(reference, "reference", "b0", CLASSES)


def test_half_precision_is_imported_as_single():
    ours = convert.to_ours(foreign("timm", dtype=np.float16), "timm", "b0", CLASSES)
    assert {v.dtype for v in ours.values()} == {np.dtype(np.float32)}


def test_every_fault_is_named_at_once():
    tensors = foreign("timm")
    tensors["conv_steam.weight"] = tensors.pop("conv_stem.weight")
    tensors["bn2.bias"] = tensors["bn2.bias"][:-1]
    tensors["bn2.weight"] = tensors["bn2.weight"].astype(np.int64)
    tensors["bn1.weight"][3] = np.nan
    tensors["bn1.running_var"][0] = -1
    with pytest.raises(convert.WeightsMismatch) as caught:
        convert.to_ours(tensors, "timm", "b0", CLASSES)
    assert caught.value.problems == [
        "missing conv_stem.weight, shape (32, 3, 3, 3) (nearest: conv_steam.weight)",
        "unexpected conv_steam.weight, shape (32, 3, 3, 3) (nearest: conv_stem.weight)",
        "bn1.weight: 1 of 32 values are not finite",
        "bn1.running_var: a variance is negative",
        "bn2.weight: int64, expected float16, bfloat16, float32 or float64",
        "bn2.bias: shape (1279), expected (1280)",
    ]


@pytest.mark.parametrize(
    ("source", "variant", "num_classes", "hint"),
    [
        ("torchvision", "b0", CLASSES, "--source"),
        ("timm", "b1", CLASSES, "--variant"),
        ("timm", "b0", 1000, "check --num_classes: classifier.weight has 7"),
    ],
)
def test_a_wrong_flag_gets_a_suggestion(source, variant, num_classes, hint):
    with pytest.raises(convert.WeightsMismatch) as caught:
        convert.to_ours(foreign("timm"), source, variant, num_classes)
    assert hint in caught.value.hint


def test_checkpoint_and_manifest_are_world_readable_and_describe_the_network(tmp_path):
    out, written = imported(tmp_path, padding="same")
    for path in (out, manifest.manifest_path(out)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]
    assert manifest.verify(out) == written
    net, read = checkpoints.network(out), written
    assert (read.variant, read.padding, read.num_classes, read.bn_eps) == ("b0", "same", 7, 1e-3)
    assert net.stem_norm.eps == 1e-3
    assert not net.training
    expected = convert.to_ours(foreign("timm"), "timm", "b0", CLASSES)
    for parameter in net.get_parameters():
        assert np.array_equal(parameter.asnumpy(), expected[parameter.name])


def test_importing_again_replaces_the_file(tmp_path):
    _, first = imported(tmp_path)
    assert imported(tmp_path)[1] == first


@pytest.mark.parametrize(("source", "epsilon"), [("torchvision", 1e-3), ("timm", 1e-5)])
def test_torchvisions_large_variants_have_tensorflows_epsilon(
    tmp_path, monkeypatch, source, epsilon
):
    """Only the network's weights are left out: a b5 takes long to make."""
    weights = {"weight": np.zeros(1, np.float32)}
    monkeypatch.setattr(transfer, "read_tensors", lambda file: weights)
    monkeypatch.setattr(transfer.convert, "to_ours", lambda *_, **__: weights)
    found = transfer.import_weights(
        tmp_path / "b5.pth", source, "b5", "symmetric", 10, out=tmp_path / "b5.ckpt"
    )
    assert found.bn_eps == epsilon


def test_a_changed_file_is_refused(tmp_path):
    out, _ = imported(tmp_path)
    content = bytearray(out.read_bytes())
    content[len(content) // 2] ^= 1
    out.write_bytes(content)
    with pytest.raises(manifest.CheckpointCorrupt, match="sha256"):
        manifest.verify(out)
    out.write_bytes(content[:-1])
    with pytest.raises(manifest.CheckpointCorrupt, match=r"bytes: \d+, the manifest says \d+"):
        transfer.export_weights(out, "timm", tmp_path / "x.safetensors")
    out.unlink()
    with pytest.raises(manifest.CheckpointCorrupt, match="the file is not"):
        manifest.verify(out)


def test_a_checkpoint_without_manifest_does_not_exist(tmp_path):
    out, _ = imported(tmp_path)
    manifest.manifest_path(out).unlink()
    with pytest.raises(manifest.ManifestMissing, match=r"out\.ckpt"):
        manifest.verify(out)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format: 2, expected 1"),
        ({"variant": None}, "variant: missing"),
        ({"num_classes": "7"}, "num_classes: '7', expected int"),
        ({"bytes": True}, "bytes: True, expected int"),
    ],
)
def test_a_wrong_manifest_names_file_key_and_what_was_expected(tmp_path, change, message):
    out, _ = imported(tmp_path)
    path = manifest.manifest_path(out)
    values = json.loads(path.read_text()) | change
    path.write_text(json.dumps({k: v for k, v in values.items() if v is not None}))
    with pytest.raises(manifest.ManifestInvalid) as caught:
        manifest.read_manifest(out)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_extra_keys_are_kept_and_may_not_hide_ours(tmp_path):
    out, written = imported(tmp_path)
    network = {"variant": "b0", "padding": "same", "num_classes": 7, "bn_eps": 1e-3}
    extra = {"step": 12, "class_names": ["a", "b"]}
    manifest.write_manifest(out, **network, source="train", extra=extra)
    assert manifest.verify(out).extra == extra
    assert manifest.verify(out).sha256 == written.sha256
    with pytest.raises(manifest.ManifestInvalid, match="bytes"):
        manifest.write_manifest(out, **network, source="train", extra={"bytes": 1})


def test_the_moving_average_is_exported_by_default(tmp_path):
    ours = convert.to_ours(foreign("timm"), "timm", "b0", CLASSES)
    out = tmp_path / "trained.ckpt"
    averaged = {f"ema.{name}": value + 1 for name, value in ours.items()}
    files.write_tensors(out, ours | averaged | {"moment.stem.weight": ours["stem.weight"]})
    manifest.write_manifest(
        out, variant="b0", padding="same", num_classes=CLASSES, bn_eps=1e-3, source="train"
    )
    found = {}
    for weights in (None, "ema", "model"):
        transfer.export_weights(out, "timm", tmp_path / "x.safetensors", weights)
        found[weights] = load_file(tmp_path / "x.safetensors")["conv_stem.weight"]
    assert np.array_equal(found["model"], ours["stem.weight"])
    assert np.array_equal(found["ema"], ours["stem.weight"] + 1)
    assert np.array_equal(found[None], found["ema"])
    plain, _ = imported(tmp_path)
    with pytest.raises(files.UnreadableWeights, match="no moving average"):
        transfer.export_weights(plain, "timm", tmp_path / "y.safetensors", "ema")


@pytest.mark.parametrize("name", ["a.ckpt", "a.safetensors"])
def test_damaged_and_absent_files_are_named(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(files.UnreadableWeights, match="no such file"):
        files.read_tensors(path)
    path.write_bytes(b"not tensors")
    with pytest.raises(files.UnreadableWeights, match=name):
        files.read_tensors(path)


def test_pickles_are_not_read(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"PK")
    with pytest.raises(files.UnreadableWeights) as caught:
        files.read_tensors(tmp_path / "model.pth")
    assert "save_file" in caught.value.hint


def test_command_line(tmp_path, capfd):
    def effnet(*args):
        code = main(["weights", *map(str, args)])
        return code, *capfd.readouterr()

    file, out = tmp_path / "with space.safetensors", tmp_path / "out.ckpt"
    save_file(foreign("timm"), file)
    code, printed, err = effnet(
        *("import", file, "--source", "timm", "--variant", "b0"),
        *("--num-classes", CLASSES, "--out", out),
    )
    assert code == 0, err
    assert "EfficientNet-B0, 7 classes, symmetric padding" in printed
    _, shown, _ = effnet("show", out, "--json")
    assert json.loads(shown)["num_classes"] == CLASSES
    code, _, err = effnet("export", out, "--target", "timm", "--out", tmp_path / "back.safetensors")
    assert code == 0, err
    assert load_file(tmp_path / "back.safetensors").keys() == foreign("timm").keys()
    code, _, err = effnet("import", file, "--source", "timm", "--num_classes", 8, "--out", out)
    assert code == 5
    assert err.startswith("error: ")
