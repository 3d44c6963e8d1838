#pragma once

#include <cstdint>
#include <string>

#include "failure.h"

namespace effnet {

/// Pillow's limit for images that would fill the memory when decoded.
constexpr std::uint64_t kMostPixels = 2 * 89'478'485;

/// Throws `UnreadableImage` for more than `kMostPixels`.
inline void check_pixels(std::uint64_t width, std::uint64_t height) {
    if (width * height > kMostPixels) {
        throw UnreadableImage(std::to_string(width) + " x " + std::to_string(height) +
                              " pixels, more than " + std::to_string(kMostPixels));
    }
}

}  // namespace effnet
