#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace effnet {

/// 8-bit RGB, rows from the top, three bytes a pixel without gaps.
struct Image {
    int width = 0;
    int height = 0;
    std::vector<std::uint8_t> rgb;

    std::size_t row_bytes() const { return static_cast<std::size_t>(width) * 3; }
    const std::uint8_t* row(int y) const {
        return rgb.data() + static_cast<std::size_t>(y) * row_bytes();
    }
    std::uint8_t* row(int y) { return rgb.data() + static_cast<std::size_t>(y) * row_bytes(); }
};

/// A black one.
inline Image make_image(int width, int height) {
    const auto bytes = static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3;
    return {width, height, std::vector<std::uint8_t>(bytes)};
}

}  // namespace effnet
