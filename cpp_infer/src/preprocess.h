#pragma once

#include <array>
#include <cstddef>

#include "image.h"
#include "resize.h"

namespace effnet {

/// Shorter side to `resize_px`, centre crop of `width_px` x `height_px`, normalise: as
/// effnet/data/preprocess.py. What is not set is the reference's.
struct Preprocessing {
    int resize_px = 280;
    int width_px = 260;
    int height_px = 260;
    Interpolation interpolation = Interpolation::kBilinear;
    std::array<double, 3> mean{0.5, 0.5, 0.5};
    std::array<double, 3> std{0.5, 0.5, 0.5};

    /// Values of one image: 3 x height x width.
    std::size_t values() const {
        return 3 * static_cast<std::size_t>(height_px) * static_cast<std::size_t>(width_px);
    }
};

/// `image` into `values()` floats at `out`: (3, height, width), (pixel / 255 - mean) / std.
void preprocess(const Image& image, const Preprocessing& preprocessing, float* out);

}  // namespace effnet
