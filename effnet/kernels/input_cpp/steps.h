// What can be done to a picture: each gives the bits of
// effnet.data.pixels.transforms by Pillow.

#pragma once

#include "picture.h"

namespace input {

void flip(Picture &picture);
void posterize(Picture &picture, int bits);
void solarize_between(Picture &picture, int low, int high);
void solarize_add(Picture &picture, int add);
void invert(Picture &picture);
void autocontrast(Picture &picture);
void equalize(Picture &picture);
void brightness(Picture &picture, float factor);
void contrast(Picture &picture, float factor);
void saturation(Picture &picture, float factor);
void sharpness(Picture &picture, float factor);

enum class Resample { kNearest, kBilinear, kBicubic };

/// Pixel (x, y) comes from (ax + by + c, dx + ey + f); `fill` where that is
/// outside.
void affine(Picture &picture, const double rows[6], Resample resample,
            std::uint32_t fill);

} // namespace input
