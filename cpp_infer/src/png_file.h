#pragma once

#include <cstdint>
#include <vector>

#include "image.h"

namespace effnet {

/// Grey, palette, colour, of 1 to 16 bits, as effnet/data/decode.py turns them into RGB: the high
/// byte of 16 bits, no gamma, alpha dropped. Throws `UnreadableImage`.
Image decode_png(const std::vector<std::uint8_t>& bytes);

}  // namespace effnet
