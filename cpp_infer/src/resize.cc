#include "resize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace effnet {
namespace {

/// Bits after the point of a weight: 8 bits of pixel and 2 of overshoot leave so many of 32.
constexpr int kPrecision = 32 - 8 - 2;

double bilinear(double x) {
    x = std::fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/// Keys' cubic with a = -0.5.
double bicubic(double x) {
    constexpr double a = -0.5;
    x = std::fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

/// The inputs of one output along a line, and their weights in fixed point.
struct Taps {
    int first = 0;
    std::vector<std::int32_t> weights;
};

std::vector<Taps> make_taps(int inputs, int outputs, Interpolation interpolation) {
    const bool cubic = interpolation == Interpolation::kBicubic;
    const double scale = static_cast<double>(inputs) / outputs;
    // Shrinking widens the filter to all that falls into one output.
    const double stretch = std::max(scale, 1.0);
    const double support = (cubic ? 2.0 : 1.0) * stretch;
    const double inverse = 1.0 / stretch;

    std::vector<Taps> all(static_cast<std::size_t>(outputs));
    std::vector<double> weights;
    for (int output = 0; output < outputs; ++output) {
        const double centre = (output + 0.5) * scale;
        const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
        const int end = std::min(static_cast<int>(centre + support + 0.5), inputs);
        weights.clear();
        double sum = 0.0;
        for (int input = first; input < end; ++input) {
            const double x = (input - centre + 0.5) * inverse;
            weights.push_back(cubic ? bicubic(x) : bilinear(x));
            sum += weights.back();
        }
        Taps& taps = all[static_cast<std::size_t>(output)];
        taps.first = first;
        for (double weight : weights) {
            if (sum != 0.0) weight /= sum;
            const double fixed = weight * (1 << kPrecision);
            taps.weights.push_back(static_cast<std::int32_t>(fixed + (weight < 0 ? -0.5 : 0.5)));
        }
    }
    return all;
}

/// Input `first + k` of an output begins `k * step` bytes after `from`.
void weigh(const Taps& taps, const std::uint8_t* from, std::size_t step, std::uint8_t* to) {
    for (std::size_t c = 0; c < 3; ++c) {
        std::int32_t sum = 1 << (kPrecision - 1);
        const std::uint8_t* in = from + c;
        for (const std::int32_t weight : taps.weights) {
            sum += *in * weight;
            in += step;
        }
        to[c] = static_cast<std::uint8_t>(std::clamp(sum >> kPrecision, 0, 255));
    }
}

Image resize_rows(const Image& image, int width, Interpolation interpolation) {
    const std::vector<Taps> all = make_taps(image.width, width, interpolation);
    Image out = make_image(width, image.height);
    for (int y = 0; y < out.height; ++y) {
        std::uint8_t* to = out.row(y);
        for (const Taps& taps : all) {
            weigh(taps, image.row(y) + 3 * taps.first, 3, to);
            to += 3;
        }
    }
    return out;
}

Image resize_columns(const Image& image, int height, Interpolation interpolation) {
    const std::vector<Taps> all = make_taps(image.height, height, interpolation);
    Image out = make_image(image.width, height);
    for (int y = 0; y < height; ++y) {
        const Taps& taps = all[static_cast<std::size_t>(y)];
        const std::uint8_t* from = image.row(taps.first);
        std::uint8_t* to = out.row(y);
        for (int x = 0; x < out.width; ++x) {
            weigh(taps, from + 3 * x, image.row_bytes(), to + 3 * x);
        }
    }
    return out;
}

}  // namespace

Image resize(const Image& image, int width, int height, Interpolation interpolation) {
    if (width == image.width && height == image.height) return image;
    if (height == image.height) return resize_rows(image, width, interpolation);
    if (width == image.width) return resize_columns(image, height, interpolation);
    return resize_columns(resize_rows(image, width, interpolation), height, interpolation);
}

}  // namespace effnet
