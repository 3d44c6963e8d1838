"""Mixed precision: which cells of the network compute in 16 bits. Parameters stay float32."""

from __future__ import annotations

import mindspore as ms

from effnet import device
from effnet.errors import UsageError
from effnet.model.depthwise import use_plain_depthwise
from effnet.model.efficientnet import EfficientNet


def apply(net: EfficientNet, amp_level: str, amp_dtype: str = "float16") -> None:
    """Set the precision of `net`; call it before the network's first call.

    O0 is float32; O2 is `amp_dtype` but for batch norm, whose output is cast back; O3 is
    `amp_dtype` throughout, as the reference's `to_float(float16)`. Images, noise and labels stay
    what they are, and the loss casts logits to float32. Raises `UsageError` for bfloat16 on an
    Ascend 910A, which has none.
    """
    if amp_level == "O0":
        return
    if amp_dtype == "bfloat16" and device.soc() == "ascend910":
        raise UsageError(
            "amp_dtype bfloat16: an Ascend 910A computes in float16 and float32 only",
            hint="set amp_dtype = float16",
        )
    # The CPU's own forms of it mix float32 kernels with float16 images.
    use_plain_depthwise(net)
    ms.amp.auto_mixed_precision(net, amp_level, getattr(ms, amp_dtype))
    # Only its children: noise rounded to 16 bits would draw other masks than O0 does.
    net.add_flags(fp16=False, bf16=False)
