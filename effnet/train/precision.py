"""Mixed precision: which cells of the network compute in float16. Parameters stay float32."""

from __future__ import annotations

import mindspore as ms

from effnet.model.depthwise import use_plain_depthwise
from effnet.model.efficientnet import EfficientNet


def apply(net: EfficientNet, amp_level: str) -> None:
    """Set the precision of `net`; call it before the network's first call.

    O0 is float32; O2 is float16 but for batch norm, whose output is cast back; O3 is float16
    throughout, as the reference's `to_float(float16)`. Images, noise and labels stay what they are,
    and the loss casts logits to float32.
    """
    if amp_level == "O0":
        return
    # The CPU's own forms of it mix float32 kernels with float16 images.
    use_plain_depthwise(net)
    ms.amp.auto_mixed_precision(net, amp_level, ms.float16)
    # Only its children: noise rounded to float16 would draw other masks than O0 does.
    net.add_flags(fp16=False)
