// Antialiased resizing as Pillow does it: weights of 22 bits, 8 bits between
// both passes. cpp_infer, which is built without this package, has a plain
// form of its own; tests hold both to the bits of Pillow.

#include "resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "lanes.h"

namespace input {
namespace {

constexpr int kBits = 32 - 8 - 2;
/// Inputs that are weighed at once along a row: 16 bytes.
constexpr int kGroup = 4;

double bilinear(double x) {
  x = std::fabs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

/// Keys' cubic with a = -0.5.
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0)
    return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0)
    return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

/// The inputs of each output along a line: `counts[i]` of them from `firsts[i]`
/// on, their weights from `i * stride` on, followed by zeros.
struct Taps {
  int stride = 0;
  std::vector<int> firsts, counts;
  std::vector<std::int32_t> weights;
};

void make_taps(int inputs, float from, float to, int outputs, int skip,
               int count, bool is_cubic, Taps &taps) {
  const double scale = static_cast<double>(to - from) / outputs;
  // Shrinking widens the filter to all that falls into one output.
  const double stretch = std::max(scale, 1.0);
  const double support = (is_cubic ? 2.0 : 1.0) * stretch;
  const double inverse = 1.0 / stretch;
  const int most = static_cast<int>(std::ceil(support)) * 2 + 1;
  taps.stride = (most + kGroup - 1) / kGroup * kGroup;
  taps.firsts.resize(count);
  taps.counts.resize(count);
  taps.weights.assign(static_cast<std::size_t>(count) * taps.stride, 0);
  std::vector<double> shares(most);
  for (int i = 0; i < count; ++i) {
    const double centre = from + (i + skip + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int end = std::min(static_cast<int>(centre + support + 0.5), inputs);
    double sum = 0.0;
    for (int input = first; input < end; ++input) {
      const double x = (input - centre + 0.5) * inverse;
      sum += shares[input - first] = is_cubic ? bicubic(x) : bilinear(x);
    }
    std::int32_t *weights =
        taps.weights.data() + static_cast<std::size_t>(i) * taps.stride;
    for (int k = 0; k < end - first; ++k) {
      const double share = sum != 0.0 ? shares[k] / sum : shares[k];
      const double fixed = share * (1 << kBits);
      weights[k] = static_cast<std::int32_t>(fixed + (share < 0 ? -0.5 : 0.5));
    }
    taps.firsts[i] = first;
    taps.counts[i] = end - first;
  }
}

constexpr int kHalf = 1 << (kBits - 1);

#if defined(__AVX512F__)

__m128i to_bytes(__m512i sums) {
  const __m512i values = _mm512_srai_epi32(sums, kBits);
  return _mm512_cvtusepi32_epi8(
      _mm512_max_epi32(values, _mm512_setzero_si512()));
}

/// Each weight four times, once for each byte of its pixel.
void spread(const Taps &taps, std::vector<std::int32_t> &weights) {
  weights.resize(taps.weights.size() * 4);
  for (std::size_t i = 0; i < taps.weights.size(); ++i) {
    std::fill_n(weights.data() + 4 * i, 4, taps.weights[i]);
  }
}

/// Four sums, of every fourth input.
__m512i weigh(const std::uint32_t *in, const std::int32_t *weights, int count) {
  __m512i sums = _mm512_setzero_si512();
  for (int k = 0; k < count; k += kGroup) {
    const __m512i weight = _mm512_loadu_si512(weights + 4 * k);
    sums = _mm512_add_epi32(sums, _mm512_mullo_epi32(wholes(in + k), weight));
  }
  return sums;
}

/// The four sums of `a` and of `b`, added in pairs.
__m512i pairs(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x44),
                          _mm512_shuffle_i32x4(a, b, 0xee));
}

/// `from` can be read for `taps.stride` pixels from each first one on. Four
/// outputs at once: `to` has room for a whole number of fours.
void weigh_row(const std::uint32_t *from, const Taps &taps,
               const std::int32_t *spread_weights, std::uint32_t *to) {
  const int outputs = static_cast<int>(taps.firsts.size());
  const std::size_t stride = 4 * static_cast<std::size_t>(taps.stride);
  const auto weighed = [&](int i) {
    const int at = std::min(i, outputs - 1);
    return weigh(from + taps.firsts[at], spread_weights + at * stride,
                 taps.counts[at]);
  };
  for (int i = 0; i < outputs; i += 4) {
    const __m512i first = pairs(weighed(i), weighed(i + 1));
    const __m512i second = pairs(weighed(i + 2), weighed(i + 3));
    const __m512i sums =
        _mm512_add_epi32(_mm512_shuffle_i32x4(first, second, 0x88),
                         _mm512_shuffle_i32x4(first, second, 0xdd));
    const __m128i bytes =
        to_bytes(_mm512_add_epi32(sums, _mm512_set1_epi32(kHalf)));
    _mm_storeu_si128(reinterpret_cast<__m128i *>(to + i), bytes);
  }
}

/// A row of the result out of `count` rows of `stride` bytes, a multiple of 64.
void weigh_rows(const std::uint8_t *from, std::size_t stride,
                const std::int32_t *weights, int count, std::uint8_t *to) {
  for (std::size_t at = 0; at < stride; at += 64) {
    const __m512i half = _mm512_set1_epi32(kHalf);
    __m512i sums[4] = {half, half, half, half};
    for (int k = 0; k < count; ++k) {
      const __m512i weight = _mm512_set1_epi32(weights[k]);
      for (int part = 0; part < 4; ++part) {
        const __m512i values = wholes(from + k * stride + at + 16 * part);
        sums[part] =
            _mm512_add_epi32(sums[part], _mm512_mullo_epi32(values, weight));
      }
    }
    for (int part = 0; part < 4; ++part) {
      _mm_storeu_si128(reinterpret_cast<__m128i *>(to + at + 16 * part),
                       to_bytes(sums[part]));
    }
  }
}

#else

void spread(const Taps &taps, std::vector<std::int32_t> &weights) {
  weights = taps.weights;
}

void weigh_row(const std::uint32_t *from, const Taps &taps,
               const std::int32_t *weights, std::uint32_t *to) {
  const int outputs = static_cast<int>(taps.firsts.size());
  for (int i = 0; i < outputs; ++i, weights += taps.stride) {
    const std::uint32_t *in = from + taps.firsts[i];
    Whole sum = Whole{} + kHalf;
    for (int k = 0; k < taps.counts[i]; ++k)
      sum += whole(in[k]) * weights[k];
    sum >>= kBits;
    sum = sum < 0 ? Whole{} : sum;
    to[i] = pixel_of(sum > 255 ? Whole{} + 255 : sum);
  }
}

void weigh_rows(const std::uint8_t *from, std::size_t stride,
                const std::int32_t *weights, int count, std::uint8_t *to) {
  for (std::size_t at = 0; at < stride; at += 64) {
    std::int32_t sums[64];
    std::fill_n(sums, 64, kHalf);
    for (int k = 0; k < count; ++k) {
      const std::uint8_t *in = from + k * stride + at;
      for (int i = 0; i < 64; ++i)
        sums[i] += in[i] * weights[k];
    }
    for (int i = 0; i < 64; ++i) {
      to[at + i] =
          static_cast<std::uint8_t>(std::clamp(sums[i] >> kBits, 0, 255));
    }
  }
}

#endif

/// What one pass left for the other, kept for the next image of a thread.
struct Scratch {
  Taps across, down;
  std::vector<std::int32_t> weights;
  std::vector<std::uint32_t> copy;
  std::vector<std::uint8_t> between, line;
};

std::size_t bytes_of(int pixels) {
  return 4 * static_cast<std::size_t>(pixels);
}

/// Bytes of a row, so that weigh_rows can take it.
std::size_t padded(int pixels) { return (bytes_of(pixels) + 63) / 64 * 64; }

int end_of(const Taps &taps) { return taps.firsts.back() + taps.counts.back(); }

void along_rows_first(const View &from, Scratch &scratch, Picture &to) {
  auto &[across, down, weights, copy, between, line] = scratch;
  const int first = down.firsts.front(), end = end_of(down);
  const std::size_t stride = padded(to.width);
  between.resize(static_cast<std::size_t>(end - first) * stride);
  for (int y = first; y < end; ++y) {
    const std::uint32_t *row = from.row(y);
    const std::size_t rest =
        static_cast<std::size_t>(from.height - y) * from.width;
    if (rest < static_cast<std::size_t>(from.width) + across.stride) {
      // Inputs of no weight would be read from beyond the image.
      copy.assign(row, row + from.width);
      copy.resize(static_cast<std::size_t>(from.width) + across.stride, 0);
      row = copy.data();
    }
    auto *into = between.data() + static_cast<std::size_t>(y - first) * stride;
    weigh_row(row, across, weights.data(),
              reinterpret_cast<std::uint32_t *>(into));
  }
  line.resize(stride);
  for (int y = 0; y < to.height; ++y) {
    const std::uint8_t *rows =
        between.data() +
        static_cast<std::size_t>(down.firsts[y] - first) * stride;
    weigh_rows(rows, stride,
               down.weights.data() + static_cast<std::size_t>(y) * down.stride,
               down.counts[y], line.data());
    std::memcpy(to.row(y), line.data(), bytes_of(to.width));
  }
}

void along_columns_first(const View &from, Scratch &scratch, Picture &to) {
  auto &[across, down, weights, copy, between, line] = scratch;
  const int top = down.firsts.front(), bottom = end_of(down);
  const int left = across.firsts.front(), right = end_of(across);
  for (int &first : across.firsts)
    first -= left;
  // Weighed in pieces of 64 bytes, which rows of the image do not have.
  const std::size_t stride = padded(right - left);
  copy.resize(static_cast<std::size_t>(bottom - top) * stride / 4);
  for (int y = top; y < bottom; ++y) {
    std::memcpy(copy.data() + static_cast<std::size_t>(y - top) * stride / 4,
                from.row(y) + left, bytes_of(right - left));
  }
  between.assign(stride + bytes_of(across.stride), 0);
  line.resize(padded(to.width));
  for (int y = 0; y < to.height; ++y) {
    const std::uint32_t *rows =
        copy.data() +
        static_cast<std::size_t>(down.firsts[y] - top) * stride / 4;
    weigh_rows(reinterpret_cast<const std::uint8_t *>(rows), stride,
               down.weights.data() + static_cast<std::size_t>(y) * down.stride,
               down.counts[y], between.data());
    weigh_row(reinterpret_cast<const std::uint32_t *>(between.data()), across,
              weights.data(), reinterpret_cast<std::uint32_t *>(line.data()));
    std::memcpy(to.row(y), line.data(), bytes_of(to.width));
  }
}

} // namespace

void resize(const View &from, const Box &box, bool is_cubic, bool columns_first,
            const Target &target, Picture &to) {
  // Found once: a look-up for each row costs more than the row.
  thread_local Scratch kept;
  Scratch &scratch = kept;
  make_taps(from.width, box.left, box.right, target.full_width, target.left,
            target.width, is_cubic, scratch.across);
  make_taps(from.height, box.top, box.bottom, target.full_height, target.top,
            target.height, is_cubic, scratch.down);
  spread(scratch.across, scratch.weights);
  to.become(target.width, target.height);
  if (columns_first) {
    along_columns_first(from, scratch, to);
  } else {
    along_rows_first(from, scratch, to);
  }
}

} // namespace input
