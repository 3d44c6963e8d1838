#pragma once

#include <cstdint>
#include <vector>

#include "image.h"

namespace effnet {

/// Grey, colour and CMYK (inverted, as Adobe writes it) as Pillow decodes them: slow integer DCT,
/// fancy upsampling. Throws `UnreadableImage`.
Image decode_jpeg(const std::vector<std::uint8_t>& bytes);

}  // namespace effnet
