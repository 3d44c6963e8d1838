"""`python -m effnet train|eval|export|infer` that only looks like it."""

import argparse
import faulthandler
import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from effnet.work import Work

from effnet import faults, witness
from effnet.scheduler import Barrier

RANK = int(os.environ.get("RANK_ID", "0"))
WORLD = int(os.environ.get("RANK_SIZE", "1"))
LOGICAL = [int(n) for n in os.environ.get("EFFNET_LOGICAL_RANKS", str(RANK)).split(",")]
"""Whose work this rank does, of LOGICAL_WORLD."""
LOGICAL_WORLD = int(os.environ.get("EFFNET_LOGICAL_SIZE", str(WORLD)))
STEPS = int(os.environ.get("STANDIN_STEPS", "10"))
STEP_S = float(os.environ.get("STANDIN_STEP_S", "0.02"))
FAST = int(os.environ.get("STANDIN_FAST", "0"))
"""Steps at the beginning that take no time, for a run that has a past."""
SAVE = int(os.environ.get("STANDIN_SAVE") or 0)
"""Within an epoch a checkpoint after so many steps; 0: none."""
KEEP = int(os.environ.get("STANDIN_KEEP") or 0)
"""How many checkpoints are kept; 0: all."""
STATE = bool(os.environ.get("STANDIN_STATE"))
"""Whether rank 0 prints what its state is after each step: it depends on all steps before."""
ENOUGH, STOP = 1, 2
"""What a rank tells the others: that this epoch is the last one, that this step is."""


def heartbeat(phase, step, epoch=0):
    path = os.environ.get("EFFNET_HEARTBEAT")
    if not path:
        return
    record = f"1 {time.time():.6f} {phase} {step} {epoch} {os.getpid()}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(fd, record.ljust(127).encode() + b"\n", 0)
    finally:
        os.close(fd)


class Stop:
    reason = ""

    def __init__(self):
        signal.signal(signal.SIGTERM, self._on_term)

    def _on_term(self, number, frame):
        self.reason = "SIGTERM"

    def look(self):
        stop_file = os.environ.get("EFFNET_STOP_FILE")
        if not self.reason and stop_file and os.path.exists(stop_file):
            self.reason = "stop file"
        return self.reason


def is_enough():
    """Whether a test has made the file that ends training early."""
    file = os.environ.get("STANDIN_ENOUGH")
    return bool(file) and os.path.exists(file)


def after(state, step):
    """The state after one more step, which is that of all logical ranks together."""
    return hashlib.sha256(f"{state} {step} {LOGICAL_WORLD}".encode()).hexdigest()[:16]


def replace(path, content):
    """As the trainer does it: whoever is killed leaves no half file, and a full disk has space
    again for what is said about it.
    """
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_bytes(content)
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def save(folder, epoch, step, state):
    begin = time.monotonic()
    folder = Path(folder)
    path = folder / f"step-{step:08d}.ckpt"
    known = {"epoch": epoch, "step": step, "state": state}
    content = json.dumps(known).encode() + os.urandom(100_000)
    halved = any(fault["do"] == "half_checkpoint" for fault in faults.wanted(RANK, step))
    if any(fault["do"] == "no_save" for fault in faults.wanted(RANK, step)):
        heartbeat("checkpoint", step)
        time.sleep(3600)
    # A damaged disk: right size, wrong content, and a manifest that knows better.
    written = content[:50_000] + bytes(len(content) - 50_000) if halved else content
    replace(path, written)
    digest = hashlib.sha256(content).hexdigest()
    manifest = {
        "format": "effnet-checkpoint",
        "sha256": digest,
        "bytes": len(content),
        "epoch": epoch,
        "step": step,
        "steps_per_epoch": STEPS,
        "world_size": LOGICAL_WORLD,
        "created": time.time(),
    }
    replace(path.with_name(f"{path.name}.manifest.json"), json.dumps(manifest).encode())
    for old in sorted(folder.glob("step-*.ckpt"))[:-KEEP] if KEEP else ():
        old.with_name(f"{old.name}.manifest.json").unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    took_ms = (time.monotonic() - begin) * 1000
    print(
        f"checkpoint: epoch:[{epoch}], step:[{step}], bytes:[{len(content)}],"
        f" time:[{took_ms:.3f}], sha256:[{digest[:16]}], path:[{path}]",
        flush=True,
    )


def newest(folder):
    """(epoch, step) of the checkpoint to resume from."""
    if folder == "auto":
        raise SystemExit("the stand-in resumes from a path")
    manifest = json.loads(Path(f"{folder}.manifest.json").read_text())
    return manifest["epoch"], manifest["step"]


def saved_state(path):
    """Empty for a checkpoint of a version that kept none."""
    content = Path(path).read_bytes().decode("latin-1")
    return json.JSONDecoder().raw_decode(content)[0].get("state", "")


def settings_of(arguments):
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    settings = tomllib.loads(Path(arguments.config).read_text())
    settings.update(item.split("=", 1) for item in arguments.set)
    return settings


def train(arguments):
    stop = Stop()
    heartbeat("init", 0)
    faults.commit(RANK, 0, heartbeat)
    epochs = int(settings_of(arguments).get("epoch_size", 3))
    work = Work(RANK) if os.environ.get("STANDIN_WORK") else None
    barrier = Barrier() if WORLD > 1 else None
    done_epochs, done, state = 0, 0, ""
    if barrier:
        barrier.wait(False)
    print(
        f"start: rank:[{RANK}/{WORLD}], target:[CPU], variant:[b2], parameters:[9109994],"
        f" epochs:[{epochs}], steps per epoch:[{STEPS}], batch:[4x{LOGICAL_WORLD}],"
        " images:[320], seed:[1]",
        flush=True,
    )
    if LOGICAL_WORLD != WORLD:
        print(f"carries {LOGICAL} of {LOGICAL_WORLD}", flush=True)
    if arguments.resume:
        # Rank 0 alone reads the file, which need not be on other nodes.
        done = newest(arguments.resume)[1] if RANK == 0 else 0
        done = barrier.wait(done) if barrier else done
        state = saved_state(arguments.resume) if RANK == 0 else ""
        done_epochs = done // STEPS
        where = f"epoch:[{done_epochs}], step:[{done}], path:[{arguments.resume}]"
        print(f"resume: {where}", flush=True)
    if calibrated := int(settings_of(arguments).get("calibrate_steps", 0)):
        print(
            f"calibration: steps:[{calibrated}], step time:[{STEP_S * 1000:.3f}],"
            f" steps per epoch:[{STEPS}], evaluation:[500.000], feed images/s:[500.0]",
            flush=True,
        )
        if barrier:
            barrier.leave()
        return 0
    ballast = bytearray()
    begin = time.monotonic()
    while done < epochs * STEPS:
        epoch, step = divmod(done, STEPS)
        heartbeat("data", done, epoch)
        if done:
            faults.commit(RANK, done, heartbeat)
        if not work or not done:
            step_begin = time.monotonic()
        input_ms = work.load() if work else None
        heartbeat("compute", done, epoch)
        if work:
            work.compute()
        time.sleep(STEP_S * len(LOGICAL) if done >= FAST else 0)
        heartbeat("reduce", done, epoch)
        wait_begin = time.monotonic()
        order = STOP if stop.look() else ENOUGH if is_enough() else 0
        order = barrier.wait(order) if barrier else order
        asked = order == STOP
        wait_ms = (time.monotonic() - wait_begin) * 1000
        done += 1
        state = after(state, done)
        now, done_s = time.monotonic(), time.time()
        took_ms, step_begin = (now - step_begin) * 1000, now
        loss = 2.3 * 0.99**done
        memory = 1_288_490_188 + done % 8 * 67_108_864
        ballast[:] = bytes(
            0 if work else done % 8 * 4_194_304
        )  # so that what a sampler sees moves too
        own = f" input:[{input_ms:.3f}]," if work else ""
        print(
            f"epoch: [{epoch:3d}/{epochs:3d}], step:[{step:5d}/{STEPS:5d}],"
            f" loss:[{loss:.5f}/{loss:.5f}], time:[{took_ms:.3f}], wait:[{wait_ms:.3f}],{own}"
            f" images/s:[{4 * LOGICAL_WORLD / took_ms * 1000:.1f}], lr:[0.0100000],"
            f" memory:[{memory}], at:[{done_s:.6f}]",
            flush=True,
        )
        print(f"plain {done}", flush=True)
        if STATE and RANK == 0:
            print(f"state {done} {state}", flush=True)
        if done % STEPS == 0:
            print(
                f"epoch {done // STEPS}: epoch time: {STEPS * took_ms:.3f},"
                f" per step time: {took_ms:.3f}, avg loss: {loss:.3f}, images/s:[33.2]",
                flush=True,
            )
        if RANK == 0 and (done % STEPS == 0 or asked or (SAVE and done % SAVE == 0)):
            heartbeat("checkpoint", done, done // STEPS)
            save(arguments.save_checkpoint_path, done // STEPS, done, state)
        if asked:
            reason = stop.look() or "stop file"
            print(f"stop: epoch:[{done // STEPS}], step:[{done}], reason:[{reason}]", flush=True)
            break
        if order == ENOUGH:
            epochs = -(-done // STEPS)
    else:
        took_ms = (time.monotonic() - begin) * 1000
        print(f"done: epochs:[{epochs}], steps:[{done}], time:[{took_ms:.3f}]", flush=True)
    heartbeat("done", done, done // STEPS)
    for fault in faults.wanted(RANK, done):
        if fault["do"] == "linger":
            time.sleep(fault["seconds"])
        elif fault["do"] == "crash_in_leaving":
            os.kill(os.getpid(), signal.SIGKILL)
    if barrier:
        barrier.leave()
    return 0


def eval_(arguments):
    faults.commit(RANK, 0, heartbeat)
    seconds, file = (
        float(os.environ.get("STANDIN_EVAL_S", "0")),
        os.environ.get("STANDIN_EVALUATED"),
    )
    for done in range(0, 360, 36):
        if seconds >= 1:
            print(f"progress: eval:[{done}/360]", file=sys.stderr, flush=True)
        until = time.monotonic() + seconds / 10
        while time.monotonic() < until and not (file and os.path.exists(file)):
            time.sleep(min(0.05, seconds / 10))
    result = {"loss": 0.5, "top_1_acc": 0.9, "top_5_acc": 0.99, "images": 360}
    weights = arguments.weights
    print(f"eval: images:[360], time:[4210.000], images/s:[85.5], weights:[{weights}]")
    print(
        "result: {'Loss': 0.5, 'Top_1_Acc': 0.9, 'Top_5_Acc': 0.99} ckpt ="
        f" {arguments.checkpoint_path}"
    )
    print(
        json.dumps({**result, "checkpoint": arguments.checkpoint_path, "weights": weights}),
        flush=True,
    )
    return 0


def export(arguments):
    path = f"{arguments.file_name}.{arguments.file_format.lower()}"
    Path(path).write_bytes(b"onnx")
    print(json.dumps({"path": path, "difference": 1e-6}), flush=True)
    return 0


def infer(arguments):
    if arguments.predictions:
        Path(arguments.predictions).write_text("image,label,predicted,probability,unreadable\n")
    print(json.dumps({"top_1_acc": 0.9, "top_5_acc": 0.99, "images": 360}), flush=True)
    return 0


def main():
    parser = argparse.ArgumentParser(prog="effnet")
    commands = parser.add_subparsers(dest="command", required=True)
    trainer = commands.add_parser("train")
    trainer.add_argument("--config", required=True)
    trainer.add_argument("--set", action="append", default=[])
    trainer.add_argument("--save_checkpoint_path", required=True)
    trainer.add_argument("--dataset_path")
    trainer.add_argument("--device_target")
    trainer.add_argument("--run_distribute")
    trainer.add_argument("--resume")
    for name in ("eval", "export", "infer"):
        command = commands.add_parser(name)
        for flag in (
            "config",
            "checkpoint_path",
            "dataset_path",
            "file_name",
            "file_format",
            "precision",
            "eval_dataset_path",
        ):
            command.add_argument(f"--{flag}")
        command.add_argument("--onnx_path")
        command.add_argument("--device_target")
        command.add_argument("--predictions")
        command.add_argument("--weights", choices=("model", "ema"), default="model")
        command.add_argument("--device_id")
        command.add_argument("--set", action="append")
        command.add_argument("--width")
        command.add_argument("--height")
        command.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.command == "train":
        witness.begin(RANK)
    run = {"train": train, "eval": eval_, "export": export, "infer": infer}
    return run[arguments.command](arguments)


def write_stacks_on_signal():
    path = os.environ.get("EFFNET_STACKS")
    if path and os.environ.get("STANDIN_NO_STACKS") != str(RANK):
        file = open(path, "ab", buffering=0)  # noqa: SIM115
        faulthandler.register(signal.SIGRTMIN + 7, file, all_threads=True, chain=False)


if __name__ == "__main__":
    write_stacks_on_signal()
    sys.exit(main())
