#include "preprocess.h"

#include <cmath>
#include <cstdint>

namespace effnet {
namespace {

Image resize_shorter(const Image& image, int size, Interpolation interpolation) {
    const bool upright = image.width <= image.height;
    const int shorter = upright ? image.width : image.height;
    const int longer = upright ? image.height : image.width;
    const auto product = static_cast<double>(std::int64_t{size} * longer);
    // Cut, not rounded, as torchvision does.
    const int scaled = static_cast<int>(product / shorter);
    return upright ? resize(image, size, scaled, interpolation)
                   : resize(image, scaled, size, interpolation);
}

/// Before the first pixel of the middle; halves go to the even number, as Python's round does.
int margin(int size, int wanted) {
    return static_cast<int>(std::nearbyint((size - wanted) / 2.0));
}

}  // namespace

void preprocess(const Image& image, const Preprocessing& preprocessing, float* out) {
    const Image resized =
        resize_shorter(image, preprocessing.resize_px, preprocessing.interpolation);
    const int left = margin(resized.width, preprocessing.width_px);
    const int top = margin(resized.height, preprocessing.height_px);
    for (std::size_t c = 0; c < 3; ++c) {
        const auto scale = static_cast<float>(1.0 / (255.0 * preprocessing.std[c]));
        const auto shift = static_cast<float>(-preprocessing.mean[c] / preprocessing.std[c]);
        for (int y = top; y < top + preprocessing.height_px; ++y) {
            const bool inside = y >= 0 && y < resized.height;
            for (int x = left; x < left + preprocessing.width_px; ++x) {
                // What a crop takes from outside the image is black.
                const bool seen = inside && x >= 0 && x < resized.width;
                const std::uint8_t pixel = seen ? resized.row(y)[3 * x + static_cast<int>(c)] : 0;
                *out++ = static_cast<float>(pixel) * scale + shift;
            }
        }
    }
}

}  // namespace effnet
