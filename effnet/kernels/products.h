// Matrix products of maps with 1x1 kernels: forward, and both gradients.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "pool.h"
#include "vectors.h"

namespace blocks {

// Pixels that a task computes at a time, so that they stay in the second cache.
// Like every size here it does not depend on the number of threads, and so
// neither does the order of any sum.
constexpr int64_t kChunk = 192;
constexpr int64_t kTasks = 16;
// Multiplications below which waking a thread costs more.
constexpr int64_t kSmallProduct = 1000000;

#ifdef __AVX512F__
constexpr int kTile = 12, kAcross = 2, kDown = 8, kWide = 3;
#else
constexpr int kTile = 3, kAcross = 2, kDown = 4, kWide = 1;
#endif

// R pixels times N blocks of outputs. `w` has `depth` vectors for each block of
// outputs, one for each input.
template <int R, int N>
inline void product_tile(const float *a, int64_t a_stride, int64_t a_blocks,
                         const Vec *w, int64_t depth, float *out,
                         int64_t out_stride) {
  Vec sum[R][N] = {};
  for (int64_t block = 0; block < a_blocks; ++block) {
    const float *pixels = a + block * a_stride;
    const Vec *weights = w + block * kLanes;
#pragma GCC unroll 4
    for (int lane = 0; lane < kLanes; ++lane) {
      Vec b[N];
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n)
        b[n] = weights[n * depth + lane];
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int n = 0; n < N; ++n)
          sum[r][n] += b[n] * pixels[r * kLanes + lane];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n)
      store(out + n * out_stride + r * kLanes, sum[r][n]);
}

template <int N>
void product_panel(const float *a, int64_t a_stride, int64_t a_blocks,
                   int64_t rows, const Vec *w, float *out, int64_t out_stride) {
  const int64_t depth = a_blocks * kLanes;
  int64_t row = 0;
  for (; row + kTile <= rows; row += kTile)
    product_tile<kTile, N>(a + row * kLanes, a_stride, a_blocks, w, depth,
                           out + row * kLanes, out_stride);
  for (; row + 4 <= rows; row += 4)
    product_tile<4, N>(a + row * kLanes, a_stride, a_blocks, w, depth,
                       out + row * kLanes, out_stride);
  for (; row < rows; ++row)
    product_tile<1, N>(a + row * kLanes, a_stride, a_blocks, w, depth,
                       out + row * kLanes, out_stride);
}

// Blocks `first` ... `last` - 1 of the outputs of some pixels.
inline void product(const float *a, int64_t a_stride, int64_t a_blocks,
                    int64_t rows, const Vec *w, int64_t first, int64_t last,
                    float *out, int64_t out_stride) {
  const int64_t depth = a_blocks * kLanes;
  int64_t block = first;
  for (; block + kAcross <= last; block += kAcross)
    product_panel<kAcross>(a, a_stride, a_blocks, rows, w + block * depth,
                           out + block * out_stride, out_stride);
  for (; block < last; ++block)
    product_panel<1>(a, a_stride, a_blocks, rows, w + block * depth,
                     out + block * out_stride, out_stride);
}

// Weights (outputs, inputs) as vectors of outputs: (outputs / 16, inputs).
inline const Vec *packed_forward(const float *weight, int64_t outputs,
                                 int64_t inputs, std::vector<float> &memory) {
  const int64_t depth = blocks_of(inputs) * kLanes;
  float *to = grown(memory, blocks_of(outputs) * depth * kLanes);
  Pool::instance().run(
      blocks_of(outputs), outputs * inputs < 100000, [&](int64_t block) {
        float *part = to + block * depth * kLanes;
        const int64_t used =
            std::min<int64_t>(kLanes, outputs - block * kLanes);
        const float *from = weight + block * kLanes * inputs;
        for (int64_t i = 0; i < depth; ++i) {
          Vec column = {};
          if (i < inputs)
            for (int64_t lane = 0; lane < used; ++lane)
              column[lane] = from[lane * inputs + i];
          store(part + i * kLanes, column);
        }
      });
  return reinterpret_cast<const Vec *>(to);
}

// Weights (outputs, inputs) as vectors of inputs: (inputs / 16, outputs).
inline const Vec *packed_backward(const float *weight, int64_t outputs,
                                  int64_t inputs, std::vector<float> &memory) {
  const int64_t depth = blocks_of(outputs) * kLanes;
  float *to = grown(memory, blocks_of(inputs) * depth * kLanes);
  Pool::instance().run(
      blocks_of(inputs), outputs * inputs < 100000, [&](int64_t block) {
        float *part = to + block * depth * kLanes;
        for (int64_t o = 0; o < depth; ++o)
          store(part + o * kLanes, o < outputs ? part_of(weight + o * inputs,
                                                         block * kLanes, inputs)
                                               : Vec{});
      });
  return reinterpret_cast<const Vec *>(to);
}

// Splits `chunks` times `columns` into tasks: a whole row of columns where
// there are many chunks.
struct Split {
  int64_t chunks, columns, across, width;

  Split(int64_t chunks, int64_t columns) : chunks(chunks), columns(columns) {
    const int64_t wanted = std::max<int64_t>(1, parts_of(kTasks, chunks));
    width = std::max<int64_t>(kAcross, parts_of(columns, wanted));
    width = parts_of(width, kAcross) * kAcross;
    across = parts_of(columns, width);
  }

  int64_t tasks() const { return chunks * across; }
  int64_t chunk(int64_t task) const { return task / across; }
  int64_t first(int64_t task) const { return task % across * width; }
  int64_t last(int64_t task) const {
    return std::min(first(task) + width, columns);
  }
};

// R rows of a weight's gradient times N blocks of inputs, over some pixels.
template <int R, int N>
inline void gradient_tile(const float *dy, const float *x, int64_t x_stride,
                          int64_t rows, float *to, int64_t to_stride,
                          bool begins) {
  Vec sum[R][N];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n)
      sum[r][n] = begins ? Vec{} : load(to + r * to_stride + n * kLanes);
  for (int64_t row = 0; row < rows; ++row) {
    Vec b[N];
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n)
      b[n] = load(x + n * x_stride + row * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
      for (int n = 0; n < N; ++n)
        sum[r][n] += b[n] * dy[row * kLanes + r];
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
    for (int n = 0; n < N; ++n)
      store(to + r * to_stride + n * kLanes, sum[r][n]);
}

// Where a task finds some pixels: block b of its range begins at `at + b *
// stride`.
struct View {
  const float *at;
  int64_t stride;
};

// The gradient (outputs, inputs) of a 1x1 kernel. `dy_of(first, last, row,
// rows)` and `x_of` return views of blocks first ... last - 1 of some pixels;
// tasks split the outputs, or with `splits_inputs` the inputs, and call each
// with a part once.
template <typename DyOf, typename XOf>
void kernel_gradient(int64_t pixels, int64_t outputs, int64_t inputs,
                     bool splits_inputs, DyOf dy_of, XOf x_of, float *dweight,
                     std::vector<float> &memory) {
  const int64_t out_blocks = blocks_of(outputs), in_blocks = blocks_of(inputs);
  const int64_t group_rows =
      parts_of(std::max<int64_t>(2048, parts_of(pixels, 8)), kChunk) * kChunk;
  const int64_t groups = parts_of(pixels, group_rows);
  const int64_t stride = in_blocks * kLanes,
                size = out_blocks * kLanes * stride;
  float *sums = grown(memory, groups * size);
  const Split split(groups, splits_inputs ? in_blocks : out_blocks);
  const bool is_small = pixels * outputs * inputs < kSmallProduct;
  Pool::instance().run(split.tasks(), is_small, [&](int64_t task) {
    const int64_t group = split.chunk(task);
    int64_t out_first = 0, out_last = out_blocks, in_first = 0,
            in_last = in_blocks;
    (splits_inputs ? in_first : out_first) = split.first(task);
    (splits_inputs ? in_last : out_last) = split.last(task);
    const int64_t end = std::min((group + 1) * group_rows, pixels);
    float *own = sums + group * size;
    for (int64_t row = group * group_rows; row < end; row += kChunk) {
      const int64_t rows = std::min(kChunk, end - row);
      const bool begins = row == group * group_rows;
      const View dy = dy_of(out_first, out_last, row, rows);
      const View x = x_of(in_first, in_last, row, rows);
      for (int64_t o = out_first; o < out_last; ++o)
        for (int half = 0; half < kLanes; half += kDown) {
          const float *down = dy.at + (o - out_first) * dy.stride + half;
          float *to = own + (o * kLanes + half) * stride;
          int64_t i = in_first;
          for (; i + kWide <= in_last; i += kWide)
            gradient_tile<kDown, kWide>(down, x.at + (i - in_first) * x.stride,
                                        x.stride, rows, to + i * kLanes, stride,
                                        begins);
          for (; i < in_last; ++i)
            gradient_tile<kDown, 1>(down, x.at + (i - in_first) * x.stride,
                                    x.stride, rows, to + i * kLanes, stride,
                                    begins);
        }
    }
  });
  Pool::instance().run(out_blocks, groups * size < 100000, [&](int64_t block) {
    const int64_t last = std::min((block + 1) * kLanes, outputs);
    for (int64_t o = block * kLanes; o < last; ++o)
      for (int64_t i = 0; i < inputs; i += kLanes) {
        Vec sum = load(sums + o * stride + i);
        for (int64_t group = 1; group < groups; ++group)
          sum += load(sums + group * size + o * stride + i);
        put_part(dweight + o * inputs, i, inputs, sum);
      }
  });
}

} // namespace blocks
