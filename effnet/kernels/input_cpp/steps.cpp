#include "steps.h"

#include <algorithm>
#include <array>

namespace input {
namespace {

using Table = std::array<std::uint8_t, 256>;
using Tables = std::array<Table, 3>;
using Counts = std::array<std::array<std::uint32_t, 256>, 3>;

void look_up(Picture &picture, const Tables &tables) {
  for (std::uint32_t &pixel : picture.pixels) {
    pixel = static_cast<std::uint32_t>(tables[0][channel(pixel, 0)]) |
            static_cast<std::uint32_t>(tables[1][channel(pixel, 1)]) << 8 |
            static_cast<std::uint32_t>(tables[2][channel(pixel, 2)]) << 16;
  }
}

template <typename Value> void look_up_each(Picture &picture, Value value) {
  Table table;
  for (int v = 0; v < 256; ++v)
    table[v] = static_cast<std::uint8_t>(value(v));
  look_up(picture, {table, table, table});
}

/// Two at a time: equal neighbours would wait for each other's sums.
Counts histogram(const Picture &picture) {
  Counts counts = {}, more = {};
  const std::size_t size = picture.size();
  const std::uint32_t *pixels = picture.pixels.data();
  for (std::size_t i = 0; i + 1 < size; i += 2) {
    for (int c = 0; c < 3; ++c) {
      ++counts[c][channel(pixels[i], c)];
      ++more[c][channel(pixels[i + 1], c)];
    }
  }
  for (int c = 0; c < 3; ++c) {
    if (size % 2)
      ++counts[c][channel(pixels[size - 1], c)];
    for (int v = 0; v < 256; ++v)
      counts[c][v] += more[c][v];
  }
  return counts;
}

std::uint32_t grey(std::uint32_t pixel) {
  return (channel(pixel, 0) * 19595 + channel(pixel, 1) * 38470 +
          channel(pixel, 2) * 7471 + 0x8000) >>
         16;
}

std::uint32_t blend(std::uint32_t from, std::uint32_t to, float factor) {
  const auto difference =
      static_cast<float>(static_cast<int>(to) - static_cast<int>(from));
  const float mixed =
      static_cast<float>(static_cast<int>(from)) + factor * difference;
  // Between 0 and 1 it cannot leave the range, so clipping changes nothing
  // there.
  return static_cast<std::uint32_t>(
      static_cast<int>(std::min(std::max(mixed, 0.0f), 255.0f)));
}

/// Of `count` bytes, without the first and the last pixel.
void sharpen_row(const float *__restrict above, const float *__restrict here,
                 const float *__restrict below, int count, float factor,
                 std::uint8_t *__restrict out) {
  constexpr float side = 1.0f / 13.0f, middle = 5.0f / 13.0f;
  for (int i = 4; i < count - 4; ++i) {
    float sum = 0.5f;
    sum += (below[i - 4] * side + below[i] * side) + below[i + 4] * side;
    sum += (here[i - 4] * side + here[i] * middle) + here[i + 4] * side;
    sum += (above[i - 4] * side + above[i] * side) + above[i + 4] * side;
    // At most 255.5: the weights add up to 1.
    const auto smooth = static_cast<float>(static_cast<int>(sum));
    const float mixed = smooth + factor * (here[i] - smooth);
    out[i] = static_cast<std::uint8_t>(
        static_cast<int>(std::min(std::max(mixed, 0.0f), 255.0f)));
  }
}

} // namespace

void flip(Picture &picture) {
  for (int y = 0; y < picture.height; ++y) {
    std::reverse(picture.row(y), picture.row(y) + picture.width);
  }
}

void posterize(Picture &picture, int bits) {
  const int mask = ~((1 << (8 - bits)) - 1);
  look_up_each(picture, [=](int v) { return v & mask; });
}

void solarize_between(Picture &picture, int low, int high) {
  look_up_each(picture,
               [=](int v) { return low <= v && v <= high ? 255 - v : v; });
}

void solarize_add(Picture &picture, int add) {
  look_up_each(picture,
               [=](int v) { return v < 128 ? std::min(255, v + add) : v; });
}

void invert(Picture &picture) {
  for (std::uint32_t &pixel : picture.pixels)
    pixel ^= 0xffffffu;
}

void autocontrast(Picture &picture) {
  const Counts counts = histogram(picture);
  Tables tables;
  for (int c = 0; c < 3; ++c) {
    int low = 0, high = 255;
    while (low < 255 && !counts[c][low])
      ++low;
    while (high > 0 && !counts[c][high])
      --high;
    for (int v = 0; v < 256; ++v)
      tables[c][v] = static_cast<std::uint8_t>(v);
    if (high <= low)
      continue;
    const double scale = 255.0 / (high - low);
    const double offset = -low * scale;
    for (int v = 0; v < 256; ++v) {
      const int stretched = static_cast<int>(v * scale + offset);
      tables[c][v] = static_cast<std::uint8_t>(std::clamp(stretched, 0, 255));
    }
  }
  look_up(picture, tables);
}

void equalize(Picture &picture) {
  const Counts counts = histogram(picture);
  Tables tables;
  for (int c = 0; c < 3; ++c) {
    int last = 255;
    while (last > 0 && !counts[c][last])
      --last;
    const std::uint64_t step = (picture.size() - counts[c][last]) / 255;
    std::uint64_t sum = step / 2;
    for (int v = 0; v < 256; ++v) {
      const std::uint64_t even =
          step ? std::min<std::uint64_t>(sum / step, 255) : v;
      tables[c][v] = static_cast<std::uint8_t>(even);
      sum += counts[c][v];
    }
  }
  look_up(picture, tables);
}

void brightness(Picture &picture, float factor) {
  if (factor == 1.0f)
    return;
  look_up_each(picture, [=](int v) {
    return blend(0, static_cast<std::uint32_t>(v), factor);
  });
}

void contrast(Picture &picture, float factor) {
  if (factor == 1.0f)
    return;
  std::uint64_t sum = 0;
  for (const std::uint32_t pixel : picture.pixels)
    sum += grey(pixel);
  const auto mean = static_cast<std::uint32_t>(
      static_cast<double>(sum) / static_cast<double>(picture.size()) + 0.5);
  look_up_each(picture, [=](int v) {
    return blend(mean, static_cast<std::uint32_t>(v), factor);
  });
}

void saturation(Picture &picture, float factor) {
  if (factor == 1.0f)
    return;
  for (std::uint32_t &pixel : picture.pixels) {
    const std::uint32_t level = grey(pixel);
    pixel = blend(level, channel(pixel, 0), factor) |
            blend(level, channel(pixel, 1), factor) << 8 |
            blend(level, channel(pixel, 2), factor) << 16;
  }
}

void sharpness(Picture &picture, float factor) {
  if (factor == 1.0f || picture.width < 3 || picture.height < 3)
    return;
  thread_local std::vector<float> kept;
  const int stride = 4 * picture.width;
  kept.resize(static_cast<std::size_t>(3 * stride));
  float *rows[3] = {kept.data(), kept.data() + stride,
                    kept.data() + 2 * stride};
  const auto bytes = [&](int y) {
    return reinterpret_cast<std::uint8_t *>(picture.row(y));
  };
  std::copy_n(bytes(0), stride, rows[0]);
  std::copy_n(bytes(1), stride, rows[1]);
  // The border stays: smoothing leaves it, so both sides of the blend are equal
  // there.
  for (int y = 1; y < picture.height - 1; ++y) {
    std::copy_n(bytes(y + 1), stride, rows[2]);
    sharpen_row(rows[0], rows[1], rows[2], stride, factor, bytes(y));
    std::rotate(rows, rows + 1, rows + 3);
  }
}

} // namespace input
