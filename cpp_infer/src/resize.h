#pragma once

#include "image.h"

namespace effnet {

enum class Interpolation { kBilinear, kBicubic };

/// Pillow's resize, bit for bit: antialiased, in fixed point, horizontally and then vertically with
/// 8 bits between. (Image.resize of https://github.com/python-pillow/Pillow)
Image resize(const Image& image, int width, int height, Interpolation interpolation);

}  // namespace effnet
