// The depthwise convolution of planes of sixteen channels, and its gradients.
// What a row holds is made when the convolution gets to it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "taps.h"
#include "vectors.h"

namespace blocks {

struct Plane {
  int64_t height, width, out_height, out_width, top, left;

  Plane() = default;
  Plane(int64_t height, int64_t width, int kernel, int stride, bool as_tf)
      : height(height), width(width),
        out_height((height + stride - 1) / stride),
        out_width((width + stride - 1) / stride),
        top(pad_before(height, out_height, kernel, stride, as_tf)),
        left(pad_before(width, out_width, kernel, stride, as_tf)) {}

  int64_t size() const { return height * width; }
  int64_t out_size() const { return out_height * out_width; }
  int64_t right(int kernel, int stride) const {
    return std::max<int64_t>((out_width - 1) * stride + kernel - width - left,
                             0);
  }
};

// The last `keep` rows, with zeros around them.
class Ring {
public:
  Ring(int keep, int64_t rows, int64_t width, int64_t before, int64_t after)
      : keep_(keep), rows_(rows), width_(width), before_(before),
        stride_(before + width + after) {}

  int64_t size() const { return keep_ * stride_; }

  void use(Vec *memory) {
    memory_ = memory;
    std::fill(memory_, memory_ + size(), Vec{});
  }

  // The next row that `load_to` makes.
  void begin(int64_t row) { next_ = row; }

  template <typename Make> void load_to(int64_t last, Make make) {
    for (; next_ <= last; ++next_) {
      Vec *row = at(next_);
      if (next_ < 0 || next_ >= rows_)
        std::fill(row, row + width_, Vec{});
      else
        make(next_, row);
    }
  }

  // Column 0 of a row; rows from -2 * keep on.
  Vec *at(int64_t row) const {
    return memory_ + (row + 2 * keep_) % keep_ * stride_ + before_;
  }

private:
  int64_t keep_, rows_, width_, before_, stride_;
  Vec *memory_ = nullptr;
  int64_t next_ = 0;
};

// `make(row, to)` makes a row of inputs; outputs go to `out`, (out_height,
// out_width, 16), and each row is shown to `written(row)`.
template <int K, int S, typename Make, typename Written>
void convolve(const Plane &p, const Vec *kernel, float *out, Make make,
              Written written) {
  Ring rows(K, p.height, p.width, p.left, p.right(K, S));
  rows.use(reinterpret_cast<Vec *>(thread_memory(rows.size() * kLanes)));
  rows.begin(-p.top);
  for (int64_t row = 0; row < p.out_height; ++row) {
    const int64_t first = row * S - p.top;
    rows.load_to(first + K - 1, make);
    const Vec *in[K];
    for (int a = 0; a < K; ++a)
      in[a] = rows.at(first + a) - p.left;
    output_row<K, S>(in, p.out_width, kernel,
                     Places{out + row * p.out_width * kLanes});
    written(row);
  }
}

// Both gradients. `make(row, to)` makes a row of inputs, `make_gradient` one of
// output gradients, `done(row, gradient)` takes a row of input gradients;
// `sums` is what the kernel's gradient has so far.
template <int K, int S, typename Make, typename MakeGradient, typename Done>
void convolve_back(const Plane &p, const Vec *forward_kernel, Vec *sums,
                   Make make, MakeGradient make_gradient, Done done) {
  constexpr int kRows = (K - 1) / S + 1; // of dy that an input meets
  // With stride 2, pairs of padded columns are computed.
  const int64_t pairs = (p.width + p.left + 1) / 2;
  Ring rows(K, p.height, p.width, p.left, p.right(K, S));
  Ring grads(kRows, p.out_height, p.out_width, K, K + 1);
  auto *memory = reinterpret_cast<Vec *>(thread_memory(
      (rows.size() + grads.size() + 2 * pairs + p.width) * kLanes));
  rows.use(memory);
  grads.use(memory + rows.size());
  Vec *padded = memory + rows.size() + grads.size();
  Vec *plain = padded + 2 * pairs;
  Vec kernel[K * K];
  std::copy(forward_kernel, forward_kernel + K * K, kernel);
  if (S == 1)
    std::reverse(kernel, kernel + K * K);
  rows.begin(-p.top);
  grads.begin(1 - kRows);
  int64_t counted = 0; // rows of dy that the kernel's gradient has
  for (int64_t row = 0; row < p.height; ++row) {
    const int64_t last = (row + p.top) / S;
    for (; counted < p.out_height && counted <= last; ++counted) {
      grads.load_to(counted, make_gradient);
      const int64_t first = counted * S - p.top;
      rows.load_to(first + K - 1, make);
      const Vec *in[K];
      for (int a = 0; a < K; ++a)
        in[a] = rows.at(first + a) - p.left;
      add_kernel_gradient<K, S>(in, grads.at(counted), p.out_width, sums);
    }
    grads.load_to(last, make_gradient);
    const Vec *from[kRows];
    if constexpr (S == 1) {
      for (int a = 0; a < K; ++a)
        from[a] = grads.at(last - K + 1 + a) - K + 1 + p.left;
      output_row<K, 1>(from, p.width, kernel, plain);
      done(row, plain);
    } else {
      for (int i = 0; i < kRows; ++i)
        from[i] = grads.at(last - i);
      if ((row + p.top) % 2)
        input_row<K, 1>(from, pairs, kernel, padded);
      else
        input_row<K, 0>(from, pairs, kernel, padded);
      done(row, padded + p.left);
    }
  }
}

// `call` with the kernel's side and the stride as constants.
template <typename Call> void with_sizes(int kernel, int stride, Call call) {
  using std::integral_constant;
  if (kernel == 3 && stride == 1)
    call(integral_constant<int, 3>(), integral_constant<int, 1>());
  else if (kernel == 3)
    call(integral_constant<int, 3>(), integral_constant<int, 2>());
  else if (stride == 1)
    call(integral_constant<int, 5>(), integral_constant<int, 1>());
  else
    call(integral_constant<int, 5>(), integral_constant<int, 2>());
}

} // namespace blocks
