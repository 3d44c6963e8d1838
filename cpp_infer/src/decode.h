#pragma once

#include <string>

#include "image.h"

namespace effnet {

/// A JPEG or PNG file, recognised by its first bytes, in the orientation of the stored pixels: as
/// effnet/data/decode.py. Throws `UnreadableImage`.
Image decode(const std::string& path);

}  // namespace effnet
