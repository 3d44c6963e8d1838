// A depthwise convolution of rows whose elements are vectors, one lane for each
// channel.
#pragma once

#include <algorithm>
#include <cstdint>

template <int K, int S, int N, typename Vec, typename Out>
inline void outputs(const Vec *const *rows, int64_t x, const Vec *kernel,
                    Out out) {
  Vec sum[N] = {};
  for (int a = 0; a < K; ++a) {
    const Vec *row = rows[a] + x * S;
    for (int b = 0; b < K; ++b)
      for (int j = 0; j < N; ++j)
        sum[j] += kernel[a * K + b] * row[j * S + b];
  }
  for (int j = 0; j < N; ++j)
    out[x + j] = sum[j];
}

// One row of outputs; rows[a] begins where tap (a, 0) meets output 0.
template <int K, int S, typename Vec, typename Out>
void output_row(const Vec *const *rows, int64_t count, const Vec *kernel,
                Out out) {
  int64_t x = 0;
  for (; x + 6 <= count; x += 6)
    outputs<K, S, 6>(rows, x, kernel, out);
  for (; x + 3 <= count; x += 3)
    outputs<K, S, 3>(rows, x, kernel, out);
  for (; x < count; ++x)
    outputs<K, S, 1>(rows, x, kernel, out);
}

// Adds to sums[a * K + b] what a row of output gradients contributes. Each row
// is summed by itself, which rounds less.
template <int K, int S, typename Vec>
void add_kernel_gradient(const Vec *const *rows, const Vec *dy, int64_t count,
                         Vec *sums) {
  for (int a = 0; a < K; ++a) {
    const Vec *row = rows[a];
    Vec even[K] = {}, odd[K] = {};
    int64_t x = 0;
    for (; x + 2 <= count; x += 2) {
      const Vec g0 = dy[x], g1 = dy[x + 1];
      for (int b = 0; b < K; ++b) {
        even[b] += g0 * row[x * S + b];
        odd[b] += g1 * row[x * S + S + b];
      }
    }
    if (x < count)
      for (int b = 0; b < K; ++b)
        even[b] += dy[x] * row[x * S + b];
    for (int b = 0; b < K; ++b)
      sums[a * K + b] += even[b] + odd[b];
  }
}

// Pixels R, R + 2, ... of a padded row of input gradients, for stride 2.
// rows[i] is the row of output gradients that tap A + 2 i takes to it.
template <int K, int A, int R, int N, typename Vec>
inline void phase(const Vec *const *rows, int64_t q, const Vec *kernel,
                  Vec *out) {
  Vec sum[N] = {};
  for (int i = 0; A + 2 * i < K; ++i)
    for (int b = 0; R + 2 * b < K; ++b)
      for (int j = 0; j < N; ++j)
        sum[j] += kernel[(A + 2 * i) * K + R + 2 * b] * rows[i][q + j - b];
  for (int j = 0; j < N; ++j)
    out[2 * (q + j) + R] = sum[j];
}

template <int K, int A, typename Vec>
void input_row(const Vec *const *rows, int64_t pairs, const Vec *kernel,
               Vec *out) {
  int64_t q = 0;
  for (; q + 4 <= pairs; q += 4) {
    phase<K, A, 0, 4>(rows, q, kernel, out);
    phase<K, A, 1, 4>(rows, q, kernel, out);
  }
  for (; q < pairs; ++q) {
    phase<K, A, 0, 1>(rows, q, kernel, out);
    phase<K, A, 1, 1>(rows, q, kernel, out);
  }
}

inline int64_t pad_before(int64_t size, int64_t out, int kernel, int stride,
                          bool as_tf) {
  if (!as_tf)
    return kernel / 2;
  return std::max<int64_t>((out - 1) * stride + kernel - size, 0) / 2;
}
