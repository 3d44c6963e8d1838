"""An ONNX file in onnxruntime, on the requested device and no other."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from effnet import missing, onnx_runtime
from effnet.errors import INSTALL, EffnetError, first_line

PROVIDERS = {"CPU": "CPUExecutionProvider", "GPU": "CUDAExecutionProvider"}


class ProviderMissing(EffnetError):
    """onnxruntime, or the part of it that drives the device, is not here."""

    kind = "device"


class UnreadableModel(EffnetError):
    """The file is not there, or not a model of images and logits."""


@dataclass(frozen=True)
class Model:
    """One float32 input (N, 3, H, W), one output (N, classes); sizes are `None` where free."""

    path: Path
    session: Any
    input: str
    output: str
    batch_size: int | None
    height_px: int | None
    width_px: int | None
    classes: int | None
    metadata: dict[str, str]
    provider: str

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (N, classes) of images (N, 3, H, W)."""
        logits: NDArray[np.float32] = self.session.run([self.output], {self.input: images})[0]
        return logits


def open_model(path: Path, target: str, device_id: int = 0, threads: int = 0) -> Model:
    """`threads` of a CPU compute one call, the caller's included; 0: all cores.

    Raises `ProviderMissing`, `UnreadableModel`.
    """
    if not path.is_file():
        raise UnreadableModel(f"{path}: no such file", hint=missing.hint(path))
    try:
        runtime = onnx_runtime.load()
    except ImportError as error:
        text = f"onnxruntime cannot be imported: {error}"
        raise ProviderMissing(text, hint=INSTALL) from error
    provider: Any = PROVIDERS[target]
    if target == "GPU":
        _require_cuda(runtime)
        # The default, EXHAUSTIVE, times each algorithm: 3.0 s before the first batch of B2 on an
        # H200 against 1.1 s, and none of the batches from 8 to 64 was faster for it.
        options = {"device_id": device_id, "cudnn_conv_algo_search": "HEURISTIC"}
        provider = (PROVIDERS[target], options)
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads
    try:
        session = runtime.InferenceSession(str(path), settings, providers=[provider])
    except Exception as error:  # onnxruntime's errors have no common class of their own
        if target == "GPU" and (reason := _why_cuda_does_not_load(runtime)):
            raise ProviderMissing(_CUDA_FAILED.format(reason), hint=_HINT) from error
        raise UnreadableModel(f"{path}: cannot be loaded: {first_line(error)}") from error
    used = session.get_providers()[0]
    if used != PROVIDERS[target]:
        reason = _why_cuda_does_not_load(runtime) or f"onnxruntime took {used} instead"
        raise ProviderMissing(_CUDA_FAILED.format(reason), hint=_HINT)
    return _described(path, session, used)


def _described(path: Path, session: Any, provider: str) -> Model:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise UnreadableModel(
            f"{path}: has {len(inputs)} inputs and {len(outputs)} outputs, expected one of each"
        )
    image, logits = inputs[0], outputs[0]
    if image.type != "tensor(float)" or len(image.shape) != 4 or image.shape[1] != 3:
        raise UnreadableModel(
            f"{path}: input {image.name} is {image.type} {image.shape}, expected float32 N x 3 x H"
            " x W"
        )
    if len(logits.shape) != 2:
        raise UnreadableModel(f"{path}: output {logits.name} has shape {logits.shape}, not N x C")
    batch_size, _, height_px, width_px = (_known(size) for size in image.shape)
    return Model(
        path,
        session,
        image.name,
        logits.name,
        batch_size,
        height_px,
        width_px,
        _known(logits.shape[1]),
        dict(session.get_modelmeta().custom_metadata_map),
        provider,
    )


def _known(size: Any) -> int | None:
    return size if isinstance(size, int) and size > 0 else None


_CUDA_FAILED = "--device_target GPU: onnxruntime cannot load CUDAExecutionProvider: {}"
_HINT = (
    "pip install 'onnxruntime-gpu[cuda,cudnn]' brings CUDA's libraries; the driver must be there;"
    " --device_target CPU does without"
)


def _require_cuda(runtime: ModuleType) -> None:
    available = runtime.get_available_providers()
    if PROVIDERS["GPU"] not in available:
        raise ProviderMissing(
            f"--device_target GPU: this onnxruntime {runtime.__version__} was built without"
            f" CUDAExecutionProvider; it has {', '.join(available)}",
            hint="pip uninstall onnxruntime, then pip install onnxruntime-gpu: never both",
        )
    preload = getattr(runtime, "preload_dlls", None)
    if preload is not None:
        # It prints what it does not find, which is no result.
        with contextlib.redirect_stdout(sys.stderr):
            preload()


def _why_cuda_does_not_load(runtime: ModuleType) -> str | None:
    """The dynamic linker's error for the driver or the provider's library, if there is one."""
    folder = Path(str(runtime.__file__)).parent / "capi"
    shared, cuda = (folder / f"libonnxruntime_providers_{name}.so" for name in ("shared", "cuda"))
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        driver = f"NVIDIA's driver is not here ({error})"
    else:
        driver = ""
    try:
        ctypes.CDLL(str(shared), mode=ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(cuda))
    except OSError as error:
        return "; ".join(filter(None, (str(error), driver)))
    return driver or None
