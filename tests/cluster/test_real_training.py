"""Real MindSpore between real hosts: 2 nodes x 2 ranks end with the weights of 4 local ranks."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.mindspore, pytest.mark.slow]

PROFILE = """\
name = "real"
device_target = "CPU"
start_method = "{method}"
data_path = "{data}"

[node_defaults]
user = "root"
python = {python}
slots = {slots}
{nodes}

[trainer]
variant = "b0"
class_num = 2
image_size = 32
eval_resize = 32
eval_image_size = 32
batch_size = 2
epoch_size = 1
warmup_epochs = 0
report_steps = 1
"""


@pytest.fixture
def images(tmp_path):
    """24 images of two classes: three steps of four ranks."""
    random = np.random.default_rng(1)
    for part in ("train", "val"):
        for name in ("a", "b"):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for number in range(12):
                pixels = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "images"


def train(lab, method, data, nodes, slots):
    """Trains to the end. -> the run directory."""
    from launcher import client

    text = PROFILE.format(
        method=method,
        data=data,
        python=json.dumps(sys.executable),
        slots=slots,
        nodes="\n".join(f"[[nodes]]\n{node}" for node in nodes),
    )
    path = lab.folder / "real.toml"
    path.write_text(text)
    root = lab.runs / client.start_run(str(path))
    ended = lab.end_of(root, 300)
    assert ended["kind"] == "attempt_finished", lab.story(root)
    return root


def weights_of(folder, aside):
    """The newest checkpoint's tensors; MindSpore can't read through /proc/PID/root."""
    from effnet.weights.files import read_tensors

    return read_tensors(shutil.copy(max(folder.glob("step-*.ckpt")), aside))


def test_two_nodes_train_to_the_weights_of_four_local_ranks(lab, images, tmp_path):
    local = train(lab, "cluster", images, ['address = "127.0.0.1"'], 4)
    expected = weights_of(local / "checkpoint", tmp_path / "local.ckpt")
    nodes = []
    for name in ("alpha", "beta"):
        host = lab.hosts[name]
        shutil.copytree(images, host.root / "tmp/images", dirs_exist_ok=True)
        nodes.append(f'name = "{name}"\naddress = "{host.address}"\nruns_directory = "~/runs"')
    for method in ("cluster", "mpirun"):
        root = train(lab, method, "/tmp/images", nodes, 2)
        lab.nothing_left()
        lab.check_copies(root)
        there = lab.node_file(root, "alpha", "checkpoint")
        found = weights_of(there, tmp_path / f"{method}.ckpt")
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            what = f"{method}: {name}"
            np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-9, err_msg=what)
