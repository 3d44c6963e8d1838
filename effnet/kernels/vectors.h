// Vectors of sixteen channels, and what the fused blocks compute with them.
//
// A map of C channels is (C / 16, images, height, width, 16): the sixteen lanes
// of a pixel are neighbours, and so are all pixels of a block of channels.
// Unused lanes of the last block are zero.
#pragma once

#include <cstdint>
#include <vector>

namespace blocks {

constexpr int kLanes = 16;
typedef float Vec
    __attribute__((vector_size(kLanes * sizeof(float)), may_alias));
typedef float LooseVec
    __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));
typedef int IntVec
    __attribute__((vector_size(kLanes * sizeof(int)), may_alias));

inline Vec load(const float *from) {
  return *reinterpret_cast<const LooseVec *>(from);
}

inline void store(float *to, Vec value) {
  *reinterpret_cast<LooseVec *>(to) = value;
}

// Vectors at any address. A template would drop the alignment of LooseVec.
struct Places {
  float *first;
  LooseVec &operator[](int64_t i) const {
    return reinterpret_cast<LooseVec *>(first)[i];
  }
};

inline int64_t blocks_of(int64_t channels) {
  return (channels + kLanes - 1) / kLanes;
}

inline int64_t parts_of(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

// e^x for x in [-87, 87], within 2 units in the last place; NaN for any NaN.
inline Vec exponential(Vec given) {
  Vec x = given;
  const Vec top = Vec{} + 87.0f, bottom = Vec{} - 87.0f;
  x = x > top ? top : x;
  x = x < bottom ? bottom : x;
  // Adding 1.5 * 2^23 rounds to an integer, which is then in the lowest bits.
  const Vec shift = Vec{} + 12582912.0f;
  const Vec shifted = x * 1.44269504088896341f + shift, n = shifted - shift;
  Vec r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Vec p = Vec{} + 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const IntVec exponent = reinterpret_cast<const IntVec &>(shifted) << 23;
  const IntVec bits = reinterpret_cast<const IntVec &>(p) + exponent;
  // A NaN's own bits are in `exponent`: added to a NaN they can make a number.
  return given == given ? reinterpret_cast<const Vec &>(bits) : given;
}

inline Vec sigmoid(Vec x) { return 1.0f / (1.0f + exponential(-x)); }

// The derivative of x * sigmoid(x); `s` is sigmoid(x).
inline Vec silu_slope(Vec x, Vec s) { return s + x * s * (1.0f - s); }

// Sixteen values of a vector of `channels` numbers from `first` on; zeros past
// its end.
inline Vec part_of(const float *values, int64_t first, int64_t channels) {
  if (first + kLanes <= channels)
    return load(values + first);
  Vec found = {};
  for (int64_t i = first; i < channels; ++i)
    found[i - first] = values[i];
  return found;
}

inline void put_part(float *values, int64_t first, int64_t channels, Vec part) {
  if (first + kLanes <= channels) {
    store(values + first, part);
    return;
  }
  for (int64_t i = first; i < channels; ++i)
    values[i] = part[i - first];
}

// Memory that stays: a thread's own, or a place of the process's.
inline float *grown(std::vector<float> &memory, int64_t count) {
  if (static_cast<int64_t>(memory.size()) < count + kLanes) {
    memory = std::vector<float>();
    memory.resize(count + kLanes);
  }
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  return reinterpret_cast<float *>((address + 63) / 64 * 64);
}

inline float *thread_memory(int64_t count) {
  static thread_local std::vector<float> memory;
  return grown(memory, count);
}

} // namespace blocks
