// What Pillow calls an RGB image: four bytes a pixel, of which the last means
// nothing.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace input {

struct Picture {
  int width = 0;
  int height = 0;
  std::vector<std::uint32_t> pixels;

  void become(int new_width, int new_height) {
    width = new_width;
    height = new_height;
    pixels.resize(static_cast<std::size_t>(width) * height);
  }
  std::size_t size() const { return static_cast<std::size_t>(width) * height; }
  std::uint32_t *row(int y) {
    return pixels.data() + static_cast<std::size_t>(y) * width;
  }
};

/// As `Picture`, but somebody else's.
struct View {
  int width = 0;
  int height = 0;
  const std::uint32_t *pixels = nullptr;

  const std::uint32_t *row(int y) const {
    return pixels + static_cast<std::size_t>(y) * width;
  }
};

inline std::uint32_t channel(std::uint32_t pixel, int c) {
  return (pixel >> (8 * c)) & 255;
}

} // namespace input
