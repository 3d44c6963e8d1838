"""Training, read from top to bottom: what one rank does from its first step to its last."""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from effnet.config import TrainConfig, as_dict
from effnet.contract import report
from effnet.contract.reporter import Heartbeat, StopRequest
from effnet.data import (
    BadImages,
    Batch,
    ImageIndex,
    Preprocessing,
    eval_batches,
    index_folder,
    steps_per_epoch,
    train_batches,
)
from effnet.data.folders import eval_index
from effnet.data.pixels import compiled
from effnet.distributed.group import Group, Sum, broadcast
from effnet.errors import EffnetError, UsageError
from effnet.evaluate.depthwise import choose
from effnet.evaluate.evaluator import Evaluator
from effnet.model.efficientnet import EfficientNet
from effnet.model.freeze import freeze
from effnet.optim.schedule import LrSchedule
from effnet.train import initial, precision, resume
from effnet.train.checkpoint import CheckpointFailed, CheckpointFolder
from effnet.train.meter import Meter
from effnet.train.saver import Saver
from effnet.train.state.host import digest
from effnet.train.steps import make
from effnet.train.steps.eager import LossNotFinite, remedy
from effnet.weights.files import read_tensors

_FEED_S = 3.0
_UNCOUNTED = 4
"""Steps that a calibration does not count: the first compiles, the next find prepared images."""


class LossFault(EffnetError):
    """The loss is not finite: at which step, for which images, and the last good checkpoint."""

    kind = "loss"


class Trainer:
    """One rank of a run: its data, network, state and step.

    `net` is from `initial.network` with the same configuration; without it one is made.
    """

    def __init__(
        self,
        config: TrainConfig,
        group: Group,
        heartbeat: Heartbeat,
        *,
        net: EfficientNet | None = None,
        resume_from: str = "",
    ) -> None:
        form = choose(config, group)
        if group.rank == 0:
            report.emit_notes((*form.notes, *compiled.notes(form.notes)))
        self.config = config = form.written_to(config)
        self.group = group
        self._heartbeat = heartbeat
        self._images = index_folder(config.dataset_path, "train", config.class_num)
        self._eval_images = eval_index(
            config.dataset_path, config.eval_dataset_path, config.class_num, self._images
        )
        self._bad_images = BadImages(config.max_bad_images * len(group.logical_ranks))
        self.steps_per_epoch = steps_per_epoch(
            len(self._images), config.images_per_step, group.world_size
        )
        self._schedule = LrSchedule.from_config(config, self.steps_per_epoch, group.world_size)
        self._folder = CheckpointFolder(
            Path(config.save_checkpoint_path), config.keep_checkpoint_max, group.rank
        )
        self._saver = Saver(self._folder, lambda saved: report.emit(report.checkpoint_line(saved)))
        position = self._begin(resume_from)
        self._memory = report.Memory(config.device_target)
        self._started_s = time.perf_counter()

        self.net = initial.network(config) if net is None else net
        if config.weights and not self.step:
            notes = initial.load(self.net, config, self._images.classes)
            if group.rank == 0:
                report.emit_notes(notes)
        freeze(self.net, config.freeze)
        precision.apply(self.net, config.amp_level, config.amp_dtype)
        form.apply(self.net)
        self.state = make.state_of(self.net, config)
        selected = make.select(self.state, config, group)
        self._restore(position, None if selected is None else selected.sum)
        self._train = make.make(
            self.net, self.state, config, group, heartbeat, self._schedule, selected
        )
        if position is not None:
            report.emit_notes(self._train.order.notes(position.sums))
        self._evaluator = Evaluator(
            self.net, config, jit=config.mode != "pynative", first=self._train.evaluation
        )

    def run(self, stop: StopRequest) -> None:
        """Train to the last epoch, or until any rank gets a stop request.

        Raises `LossFault`, `TooManyBadImages`, `CheckpointFailed`.
        """
        config = self.config
        while self.step < config.epoch_size * self.steps_per_epoch:
            epoch = self.step // self.steps_per_epoch
            stopped = self._epoch(epoch, stop)
            if stopped is not None:
                self._wait_for_checkpoint()
                if self.step and self._folder.path(self.step) not in self._folder.present()[:1]:
                    self._save()
                    self._wait_for_checkpoint()
                state = digest(self.state.tensors())
                report.emit(report.stop_line(self._epochs_done, self.step, stopped, state))
                return
            self._end_epoch(epoch)
        self._wait_for_checkpoint()
        took_ms = (time.perf_counter() - self._started_s) * 1e3
        state = digest(self.state.tensors())
        report.emit(report.done_line(config.epoch_size, self.step, took_ms, state))

    def calibrate(self, stop: StopRequest) -> None:
        """Take `calibrate_steps` steps and a few batches of an evaluation, and report their times.

        The first ones are not counted: they compile, and find their images prepared. Reports
        nothing after a stop request. Raises what `run` does, and `UsageError` for too few steps.
        """
        config, done, took_s = self.config, 0, 0.0
        last = config.epoch_size * self.steps_per_epoch
        while done < config.calibrate_steps and self.step < last:
            with closing(self._batches(self.step // self.steps_per_epoch)) as batches:
                before_s = time.perf_counter()
                for batch in batches:
                    lr = self._schedule.lr(self.step)
                    outcome = self._train.step(batch, lr, self.step, stop)
                    now_s = time.perf_counter()
                    if self.step >= _UNCOUNTED:
                        done, took_s = done + outcome.steps, took_s + now_s - before_s
                    before_s = now_s
                    self.step += outcome.steps
                    self._heartbeat.done(self.step, self._epochs_done)
                    if outcome.stop:
                        return
                    if done >= config.calibrate_steps:
                        break
        if not done:
            raise UsageError(
                f"a calibration needs more than {_UNCOUNTED} steps, the run has {last}",
                hint="raise epoch_size",
            )
        eval_ms = self._whole_evaluation_ms(self._eval_images) if config.interval else 0.0
        step_ms = took_s * 1e3 / done
        measured = (done, step_ms, self.steps_per_epoch, eval_ms, self._feed_images_per_s())
        report.emit(report.calibration_line(*measured))

    def _feed_images_per_s(self) -> float:
        """What this rank's threads prepare while all ranks only do that."""
        self._heartbeat.phase("data")
        group, bad_images = self.group, BadImages(len(self._images))
        prepared = train_batches(
            self._images,
            self.config,
            epoch=0,
            ranks=group.logical_ranks,
            world_size=group.world_size,
            bad_images=bad_images,
        )
        count, start_s = 0, time.perf_counter()
        with closing(prepared) as batches:
            for batch in batches:
                count += len(batch.indices)
                if time.perf_counter() - start_s > _FEED_S:
                    break
        return count / (time.perf_counter() - start_s)

    def _whole_evaluation_ms(self, images: ImageIndex | None) -> float:
        """Estimated from a few batches."""
        if images is None:
            return 0.0
        self._heartbeat.phase("eval")
        batches = -(-len(images) // (self.config.batch_size * self.group.size))
        with closing(self._eval_batches(images, BadImages(len(images)))) as prepared:
            first = list(itertools.islice(prepared, _UNCOUNTED))
            self._evaluator(first, self.group)
            more = itertools.islice(prepared, 2 * _UNCOUNTED)
            found = self._evaluator(first if batches <= _UNCOUNTED else more, self.group)
        return found.time_ms * len(images) / found.images

    def _batches(self, epoch: int) -> Generator[Any, None, None]:
        """What is left of an epoch, as the configured step takes it."""
        return self._train.batches(
            self._images,
            self.config,
            epoch=epoch,
            start_step=self.step - epoch * self.steps_per_epoch,
            ranks=self.group.logical_ranks,
            world_size=self.group.world_size,
            noise_width=self.net.noise_width,
            bad_images=self._bad_images,
        )

    def _epoch(self, epoch: int, stop: StopRequest) -> str | None:
        """Train the rest of one epoch; returns why to stop, or `None`."""
        config, first = self.config, epoch * self.steps_per_epoch
        images = config.images_per_step * self.group.world_size
        meter = Meter(images, self._loss_sum, self.step - first)
        with closing(self._batches(epoch)) as batches:
            for batch in meter.timed(batches):
                lr = self._schedule.lr(self.step)
                try:
                    outcome = self._train.step(batch, lr, self.step, stop)
                except LossNotFinite as error:
                    raise self._loss_fault(error) from error
                self.step += outcome.steps
                self._loss_sum += outcome.loss * outcome.steps
                meter.add(outcome.loss, outcome.wait_ms, outcome.steps)
                self._heartbeat.done(self.step, self._epochs_done)
                last = self.step - first == self.steps_per_epoch
                if meter.steps >= config.report_steps or last or outcome.stop:
                    self._report(epoch, self.step - first - 1, meter)
                if outcome.stop:
                    return stop.reason or "stop request of another rank"
                self._saver.look()
                if self._due_within_epoch(outcome.steps, last):
                    meter.saved(self._save())
                self._heartbeat.phase("data")
        report.emit(report.epoch_line(epoch + 1, meter.whole()))
        if len(self._bad_images):
            report.emit(self._bad_images.summary())
        return None

    def _end_epoch(self, epoch: int) -> None:
        """Checkpoint and evaluate, where this epoch is one that does."""
        config, number = self.config, epoch + 1
        self._loss_sum = 0.0
        final = number == config.epoch_size
        if config.save_checkpoint and (number % config.save_checkpoint_epochs == 0 or final):
            self._save()
        if self._eval_images is None or not config.interval or number < config.eval_start_epoch:
            return
        if (number - config.eval_start_epoch) % config.interval == 0 or final:
            self._evaluate(self._eval_images)

    def _evaluate(self, images: ImageIndex) -> None:
        self._heartbeat.phase("eval")
        group, bad_images = self.group, BadImages(self.config.max_bad_images)
        prepared = self._eval_batches(images, bad_images)
        with self.state.averaged(), closing(prepared) as batches:
            evaluation = self._evaluator(batches, group)
        if group.rank != 0:
            return
        weights = "ema" if self.state.has_average else "model"
        report.emit(report.eval_line(self._epochs_done, self.step, evaluation, weights))
        report.emit(report.result_line(evaluation, str(self._folder.path(self.step))))
        if len(bad_images):
            report.emit(bad_images.summary())
        if self.config.save_best_ckpt:
            self._wait_for_checkpoint()
            self._folder.mark_best(self.step, evaluation.top_1_acc, evaluation.loss)

    def _eval_batches(
        self, images: ImageIndex, bad_images: BadImages
    ) -> Generator[Batch, None, None]:
        rank, size = self.group.rank, self.group.size
        return eval_batches(images, self.config, rank=rank, world_size=size, bad_images=bad_images)

    # -- checkpoints -----------------------------------------------------------------------------

    @property
    def _epochs_done(self) -> int:
        return self.step // self.steps_per_epoch

    def _begin(self, resume_from: str) -> resume.StartPosition | None:
        """Find the first step, on every rank; rank 0 returns the checkpoint to resume from."""
        position: resume.StartPosition | None = None
        self.step, self._loss_sum = 0, 0.0
        if self.group.rank == 0:
            position, notes = resume.find(
                resume_from,
                self._folder,
                self.config,
                steps_per_epoch=self.steps_per_epoch,
                world_size=self.group.world_size,
                fingerprint=self._images.fingerprint,
            )
            report.emit_notes(notes)
        if position is not None:
            self.step, self._loss_sum = position.step, position.loss_sum
        if self.group.size > 1:
            place = np.array([self.step & 0xFFFF, self.step >> 16], np.float32)
            low, high = self.group.broadcast(place).tolist()
            self.step = int(low) + (int(high) << 16)
        return position

    def _restore(self, position: resume.StartPosition | None, over_ranks: Sum | None) -> None:
        """Rank 0's state on every rank, so that only it needs the file."""
        if position is not None:
            self.state.load(read_tensors(position.path))
        if self.step and self.group.size > 1:
            self.state.replace(partial(broadcast, self.group, over_ranks))
        self._heartbeat.done(self.step, self._epochs_done)
        group, images = self.group, len(self._images)
        counts = (self.state.parameter_count, self.steps_per_epoch, images, group.world_size)
        report.emit(report.start_line(self.config, group.rank, group.size, *counts))
        if self.step:
            path = str(position.path) if position else "rank 0's"
            report.emit(report.resume_line(self._epochs_done, self.step, path))

    def _due_within_epoch(self, steps: int, last: bool) -> bool:
        """Whether a checkpoint is due after one of the last `steps` steps."""
        every = self.config.save_checkpoint_steps
        wanted = self.config.save_checkpoint and every and not last
        return bool(wanted and self.step % every < steps)

    def _save(self) -> float:
        """-> milliseconds that this rank waited."""
        if self.group.rank != 0:
            return 0.0
        self._heartbeat.phase("checkpoint")
        config = self.config
        return self._saver.save(
            self.state.tensors(),
            step=self.step,
            steps_per_epoch=self.steps_per_epoch,
            network={
                "variant": config.variant,
                "padding": config.padding,
                "num_classes": config.class_num,
                "bn_eps": config.bn_eps,
            },
            extra={
                "world_size": self.group.world_size,
                "config": as_dict(config),
                "class_names": list(self._images.classes),
                "preprocessing": Preprocessing.from_config(config).to_dict(),
                "images": self._images.fingerprint,
                "loss_sum": self._loss_sum,
                "ema": self.state.has_average,
                "sums": self._train.order.now,
            },
        )

    def _wait_for_checkpoint(self) -> None:
        if self.group.rank == 0:
            self._heartbeat.phase("checkpoint")
            self._saver.wait()

    # -- reports ---------------------------------------------------------------------------------

    def _report(self, epoch: int, step: int, meter: Meter) -> None:
        line = report.step_line(
            epoch,
            self.config.epoch_size,
            step,
            self.steps_per_epoch,
            meter.pop_window(),
            self._schedule.lr(self.step - 1),
            self._memory.bytes(),
        )
        report.emit(line)

    def _loss_fault(self, error: LossNotFinite) -> LossFault:
        step = self.step + error.offset
        epoch, batch = divmod(step, self.steps_per_epoch)
        if error.own:
            names = [self._images.path(int(i)) for i in error.indices if i >= 0]
            where = f"images {', '.join(names)}"
        else:
            where = "on another rank, which names its images"
        with suppress(CheckpointFailed):
            self._wait_for_checkpoint()
        good = self._folder.present()
        kept = f"last good checkpoint: {good[0]}" if good else "there is no checkpoint yet"
        return LossFault(
            f"the loss is {error.loss} at step {step} (epoch {epoch + 1}, batch {batch + 1});"
            f" {where}; {kept}",
            hint=f"{remedy(self.config)}; --resume auto continues from the last good checkpoint",
        )
