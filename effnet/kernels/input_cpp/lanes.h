// Bytes to wider numbers and back, which the compiler would do one by one.

#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace input {

/// The four channels of a pixel.
typedef std::int32_t Whole __attribute__((vector_size(16)));
typedef double Exact __attribute__((vector_size(32)));

inline Whole whole(std::uint32_t pixel) {
#if defined(__AVX2__)
  return (Whole)_mm_cvtepu8_epi32(_mm_cvtsi32_si128(static_cast<int>(pixel)));
#else
  return Whole{
      static_cast<int>(pixel & 255), static_cast<int>(pixel >> 8 & 255),
      static_cast<int>(pixel >> 16 & 255), static_cast<int>(pixel >> 24)};
#endif
}

/// Of values from 0 to 255.
inline std::uint32_t pixel_of(Whole values) {
#if defined(__AVX2__)
  const __m128i halves = _mm_packus_epi32((__m128i)values, (__m128i)values);
  return static_cast<std::uint32_t>(
      _mm_cvtsi128_si32(_mm_packus_epi16(halves, halves)));
#else
  return static_cast<std::uint32_t>(values[0] | values[1] << 8 |
                                    values[2] << 16) |
         static_cast<std::uint32_t>(values[3]) << 24;
#endif
}

inline Exact exact(std::uint32_t pixel) {
#if defined(__AVX2__)
  return (Exact)_mm256_cvtepi32_pd((__m128i)whole(pixel));
#else
  return __builtin_convertvector(whole(pixel), Exact);
#endif
}

inline Whole truncated(Exact values) {
#if defined(__AVX2__)
  return (Whole)_mm256_cvttpd_epi32((__m256d)values);
#else
  return __builtin_convertvector(values, Whole);
#endif
}

#if defined(__AVX512F__)
/// Four pixels.
inline __m512i wholes(const void *pixels) {
  return _mm512_cvtepu8_epi32(
      _mm_loadu_si128(static_cast<const __m128i *>(pixels)));
}
#endif

} // namespace input
