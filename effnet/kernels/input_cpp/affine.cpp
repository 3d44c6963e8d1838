#include <algorithm>
#include <cmath>

#include "lanes.h"
#include "steps.h"

namespace input {
namespace {

int floored(double v) { return static_cast<int>(v >= 0.0 ? v : std::floor(v)); }
int position(double v) { return v < 0.0 ? -1 : static_cast<int>(v); }
/// 16 bits after the point.
int fixed(double v) { return floored(v * 65536.0 + 0.5); }

std::uint32_t to_pixel(Exact values) { return pixel_of(truncated(values)); }

Exact line(Exact a, Exact b, double d) { return a + (b - a) * d; }

Exact cubic(Exact a, Exact b, Exact c, Exact d, double at) {
  const Exact second = -a + c;
  const Exact third = 2.0 * (a - b) + c - d;
  const Exact fourth = -a + b - c + d;
  return b + at * (second + at * (third + at * fourth));
}

// Between whole rows or whole columns there is nothing to weigh: shears and
// translations take a half or a quarter of the work, with the same bits.

struct Bilinear {
  static std::uint32_t at(const View &from, double x, double y) {
    const int left = floored(x), top = floored(y);
    const double dx = x - left, dy = y - top;
    const int first = std::max(left, 0),
              second = std::min(left + 1, from.width - 1);
    const auto along = [&](int row) {
      const std::uint32_t *in = from.row(row);
      return dx == 0.0 ? exact(in[first])
                       : line(exact(in[first]), exact(in[second]), dx);
    };
    const Exact above = along(std::max(top, 0));
    if (dy == 0.0)
      return to_pixel(above);
    return to_pixel(line(above, along(std::min(top + 1, from.height - 1)), dy));
  }
};

struct Bicubic {
  static std::uint32_t at(const View &from, double x, double y) {
    const int left = floored(x), top = floored(y);
    const double dx = x - left, dy = y - top;
    const bool is_inner = left >= 1 && left + 2 < from.width;
    const auto along = [&](int row) {
      const std::uint32_t *in = from.row(std::clamp(row, 0, from.height - 1));
      std::uint32_t edge[4];
      const std::uint32_t *taps = in + left - 1;
      if (!is_inner) {
        for (int i = 0; i < 4; ++i)
          edge[i] = in[std::clamp(left - 1 + i, 0, from.width - 1)];
        taps = edge;
      }
      if (dx == 0.0)
        return exact(taps[1]);
      return cubic(exact(taps[0]), exact(taps[1]), exact(taps[2]),
                   exact(taps[3]), dx);
    };
    Exact found = along(top);
    if (dy != 0.0)
      found = cubic(along(top - 1), found, along(top + 1), along(top + 2), dy);
    const Exact least = {}, most = Exact{} + 255.0;
    found = found < least ? least : found;
    return to_pixel(found > most ? most : found);
  }
};

template <typename Filter>
void smooth(const View &from, const double m[6], std::uint32_t fill,
            Picture &to) {
  for (int y = 0; y < to.height; ++y) {
    std::uint32_t *out = to.row(y);
    const double row = y + 0.5;
    for (int x = 0; x < to.width; ++x) {
      const double column = x + 0.5;
      const double in_x = m[0] * column + m[1] * row + m[2];
      const double in_y = m[3] * column + m[4] * row + m[5];
      const bool is_inside =
          in_x >= 0.0 && in_x < from.width && in_y >= 0.0 && in_y < from.height;
      out[x] = is_inside ? Filter::at(from, in_x - 0.5, in_y - 0.5) : fill;
    }
  }
}

bool holds(int at, int size) { return at >= 0 && at < size; }

/// In 16 + 16 bits: for pictures of less than 8,192 pixels each way.
void nearest(const View &from, const double m[6], std::uint32_t fill,
             Picture &to) {
  const int across_x = fixed(m[0]), across_y = fixed(m[3]);
  const int down_x = fixed(m[1]), down_y = fixed(m[4]);
  int start_x = fixed(m[2] + m[0] * 0.5 + m[1] * 0.5);
  int start_y = fixed(m[5] + m[3] * 0.5 + m[4] * 0.5);
  for (int y = 0; y < to.height; ++y, start_x += down_x, start_y += down_y) {
    std::uint32_t *out = to.row(y);
    int in_x = start_x, in_y = start_y;
    for (int x = 0; x < to.width; ++x, in_x += across_x, in_y += across_y) {
      const int column = in_x >> 16, row = in_y >> 16;
      const bool is_inside =
          holds(column, from.width) && holds(row, from.height);
      out[x] = is_inside ? from.row(row)[column] : fill;
    }
  }
}

/// Without turning or shearing, positions are sums.
void nearest_straight(const View &from, const double m[6], std::uint32_t fill,
                      Picture &to) {
  double in_y = m[5] + m[4] * 0.5;
  for (int y = 0; y < to.height; ++y, in_y += m[4]) {
    std::uint32_t *out = to.row(y);
    const int row = position(in_y);
    double in_x = m[2] + m[0] * 0.5;
    for (int x = 0; x < to.width; ++x, in_x += m[0]) {
      const int column = position(in_x);
      const bool is_inside =
          holds(column, from.width) && holds(row, from.height);
      out[x] = is_inside ? from.row(row)[column] : fill;
    }
  }
}

} // namespace

void affine(Picture &picture, const double rows[6], Resample resample,
            std::uint32_t fill) {
  thread_local std::vector<std::uint32_t> before;
  before.swap(picture.pixels);
  picture.become(picture.width, picture.height);
  const View from{picture.width, picture.height, before.data()};
  if (resample == Resample::kBilinear) {
    smooth<Bilinear>(from, rows, fill, picture);
  } else if (resample == Resample::kBicubic) {
    smooth<Bicubic>(from, rows, fill, picture);
  } else if (rows[1] == 0.0 && rows[3] == 0.0) {
    nearest_straight(from, rows, fill, picture);
  } else {
    nearest(from, rows, fill, picture);
  }
}

} // namespace input
