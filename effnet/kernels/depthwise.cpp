// Depthwise convolution of float32 NCHW tensors: forward, and both gradients in
// one pass.
//
// Eight channels of an image at a time: their rows are transposed to vectors of
// eight lanes, one lane for each channel, so that any width and stride fills
// the registers.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "pool.h"
#include "taps.h"

namespace {

constexpr int kLanes = 8;
typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));
typedef float LooseVec
    __attribute__((vector_size(kLanes * sizeof(float)), aligned(4)));
typedef int Mask __attribute__((vector_size(kLanes * sizeof(int))));

// --- rows
// ----------------------------------------------------------------------------------------

inline void transpose(Vec r[kLanes]) {
  const Mask lo = {0, 8, 1, 9, 4, 12, 5, 13}, hi = {2, 10, 3, 11, 6, 14, 7, 15};
  const Mask lo2 = {0, 1, 8, 9, 4, 5, 12, 13},
             hi2 = {2, 3, 10, 11, 6, 7, 14, 15};
  const Mask lo4 = {0, 1, 2, 3, 8, 9, 10, 11},
             hi4 = {4, 5, 6, 7, 12, 13, 14, 15};
  Vec a[kLanes], b[kLanes];
  for (int i = 0; i < kLanes; i += 2) {
    a[i] = __builtin_shuffle(r[i], r[i + 1], lo);
    a[i + 1] = __builtin_shuffle(r[i], r[i + 1], hi);
  }
  for (int i = 0; i < kLanes; i += 4) {
    b[i] = __builtin_shuffle(a[i], a[i + 2], lo2);
    b[i + 1] = __builtin_shuffle(a[i], a[i + 2], hi2);
    b[i + 2] = __builtin_shuffle(a[i + 1], a[i + 3], lo2);
    b[i + 3] = __builtin_shuffle(a[i + 1], a[i + 3], hi2);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = __builtin_shuffle(b[i], b[i + 4], lo4);
    r[i + 4] = __builtin_shuffle(b[i], b[i + 4], hi4);
  }
}

// `count` pixels of `used` planes -> vectors; unused lanes are zero.
void gather(const float *from, int64_t plane, int used, int64_t count,
            Vec *to) {
  int64_t i = 0;
  if (plane == 1 && used == kLanes) {
    to[0] = *reinterpret_cast<const LooseVec *>(from);
    return;
  }
  if (used == kLanes) {
    for (; i + kLanes <= count; i += kLanes) {
      Vec r[kLanes];
      for (int lane = 0; lane < kLanes; ++lane)
        r[lane] = *reinterpret_cast<const LooseVec *>(from + lane * plane + i);
      transpose(r);
      for (int j = 0; j < kLanes; ++j)
        to[i + j] = r[j];
    }
  }
  for (; i < count; ++i) {
    Vec r = {};
    for (int lane = 0; lane < used; ++lane)
      r[lane] = from[lane * plane + i];
    to[i] = r;
  }
}

void scatter(const Vec *from, int64_t count, float *to, int64_t plane,
             int used) {
  int64_t i = 0;
  if (plane == 1 && used == kLanes) {
    *reinterpret_cast<LooseVec *>(to) = from[0];
    return;
  }
  if (used == kLanes) {
    for (; i + kLanes <= count; i += kLanes) {
      Vec r[kLanes];
      for (int j = 0; j < kLanes; ++j)
        r[j] = from[i + j];
      transpose(r);
      for (int lane = 0; lane < kLanes; ++lane)
        *reinterpret_cast<LooseVec *>(to + lane * plane + i) = r[lane];
    }
  }
  for (; i < count; ++i)
    for (int lane = 0; lane < used; ++lane)
      to[lane * plane + i] = from[i][lane];
}

// Small planes are transposed as a whole, others row by row, so that they stay
// in the first cache.
bool is_whole(int64_t height, int64_t width) { return height * width <= 256; }

// The last `keep` rows of eight planes, with zeros around them: a row may be
// outside of the planes, and so may columns -before ... width + after - 1.
class Rows {
public:
  Rows(int keep, int64_t height, int64_t width, int64_t before, int64_t after)
      : keep_(keep), height_(height), width_(width), before_(before),
        stride_(before + width + after) {}

  int64_t size() const {
    return keep_ * stride_ + (is_whole(height_, width_) ? height_ * width_ : 0);
  }

  void use(Vec *memory) {
    memory_ = memory;
    whole_ = is_whole(height_, width_) ? memory + keep_ * stride_ : nullptr;
    std::fill(memory_, memory_ + keep_ * stride_, Vec{});
  }

  void begin(const float *planes, int used, int64_t first) {
    planes_ = planes, used_ = used, next_ = first;
    if (whole_)
      gather(planes, height_ * width_, used, height_ * width_, whole_);
  }

  void load_to(int64_t last) {
    for (; next_ <= last; ++next_) {
      Vec *row = at(next_);
      if (next_ < 0 || next_ >= height_)
        std::fill(row, row + width_, Vec{});
      else if (whole_)
        std::copy(whole_ + next_ * width_, whole_ + (next_ + 1) * width_, row);
      else
        gather(planes_ + next_ * width_, height_ * width_, used_, width_, row);
    }
  }

  // Column 0 of a row; rows from -2 * keep on.
  Vec *at(int64_t row) const {
    return memory_ + (row + 2 * keep_) % keep_ * stride_ + before_;
  }

private:
  int64_t keep_, height_, width_, before_, stride_;
  Vec *memory_ = nullptr, *whole_ = nullptr;
  const float *planes_ = nullptr;
  int64_t next_ = 0;
  int used_ = 0;
};

// Rows of eight planes that are written one after the other.
class Written {
public:
  Written(int64_t height, int64_t width)
      : height_(height), width_(width), is_whole_(is_whole(height, width)) {}

  int64_t size() const { return is_whole_ ? height_ * width_ : width_; }

  void use(Vec *memory) { memory_ = memory; }

  void begin(float *planes, int used) { planes_ = planes, used_ = used; }

  Vec *row(int64_t row) { return is_whole_ ? memory_ + row * width_ : memory_; }

  void end_row(int64_t row) {
    const int64_t plane = height_ * width_;
    if (!is_whole_)
      scatter(memory_, width_, planes_ + row * width_, plane, used_);
    else if (row == height_ - 1)
      scatter(memory_, plane, planes_, plane, used_);
  }

private:
  int64_t height_, width_;
  bool is_whole_;
  Vec *memory_ = nullptr;
  float *planes_ = nullptr;
  int used_ = 0;
};

// --- the convolution
// -----------------------------------------------------------------------------

struct Sizes {
  int64_t images, channels, height, width, out_height, out_width;
  int64_t top, left; // zeros before the first pixel

  int64_t blocks() const { return (channels + kLanes - 1) / kLanes; }
  // It does not depend on the number of threads, and so neither does the order
  // of any sum.
  int64_t images_a_task() const {
    return std::min(std::max<int64_t>(512 / (height * width), 1), images);
  }
  int64_t groups() const {
    return (images + images_a_task() - 1) / images_a_task();
  }
  int64_t tasks() const { return groups() * blocks(); }
  int64_t right(int kernel, int stride) const {
    return std::max<int64_t>((out_width - 1) * stride + kernel - width - left,
                             0);
  }
};

// Memory of this thread that stays.
Vec *scratch(int64_t count) {
  static thread_local std::vector<float> memory;
  memory.resize(std::max<size_t>(memory.size(), (count + 1) * kLanes));
  auto address = reinterpret_cast<uintptr_t>(memory.data());
  return reinterpret_cast<Vec *>((address + sizeof(Vec) - 1) / sizeof(Vec) *
                                 sizeof(Vec));
}

// One task: eight channels of some images.
struct Part {
  int64_t channel, first, last;
  int used;

  Part(const Sizes &s, int64_t task) {
    channel = task % s.blocks() * kLanes;
    first = task / s.blocks() * s.images_a_task();
    last = std::min(first + s.images_a_task(), s.images);
    used = static_cast<int>(std::min<int64_t>(kLanes, s.channels - channel));
  }
};

template <int K, int S>
void forward_part(const Sizes &s, const float *x, const float *weight, float *y,
                  int64_t task) {
  const Part part(s, task);
  Rows rows(K, s.height, s.width, s.left, s.right(K, S));
  Written written(s.out_height, s.out_width);
  Vec *memory = scratch(rows.size() + written.size());
  rows.use(memory);
  written.use(memory + rows.size());
  Vec kernel[K * K];
  gather(weight + part.channel * K * K, K * K, part.used, K * K, kernel);
  for (int64_t image = part.first; image < part.last; ++image) {
    const int64_t place = image * s.channels + part.channel;
    rows.begin(x + place * s.height * s.width, part.used, -s.top);
    written.begin(y + place * s.out_height * s.out_width, part.used);
    for (int64_t row = 0; row < s.out_height; ++row) {
      const int64_t first = row * S - s.top;
      rows.load_to(first + K - 1);
      const Vec *in[K];
      for (int a = 0; a < K; ++a)
        in[a] = rows.at(first + a) - s.left;
      output_row<K, S>(in, s.out_width, kernel, written.row(row));
      written.end_row(row);
    }
  }
}

// `parts` gets these images' share of the kernel's gradient: (groups, channels,
// K * K).
template <int K, int S>
void backward_part(const Sizes &s, const float *x, const float *weight,
                   const float *dy, float *dx, float *parts, int64_t task) {
  const Part part(s, task);
  constexpr int kRows = (K - 1) / S + 1; // of dy that an input meets
  // With stride 2, pairs of padded columns are computed.
  const int64_t pairs = (s.width + s.left + 1) / 2;
  Rows rows(K, s.height, s.width, s.left, s.right(K, S));
  Rows grads(kRows, s.out_height, s.out_width, K, K + 1);
  Written written(s.height, s.width);
  Vec *memory =
      scratch(rows.size() + grads.size() + written.size() + 2 * pairs);
  rows.use(memory);
  grads.use(memory + rows.size());
  written.use(memory + rows.size() + grads.size());
  Vec *padded = memory + rows.size() + grads.size() + written.size();
  Vec kernel[K * K], sums[K * K] = {};
  gather(weight + part.channel * K * K, K * K, part.used, K * K, kernel);
  if (S == 1)
    std::reverse(kernel, kernel + K * K);
  for (int64_t image = part.first; image < part.last; ++image) {
    const int64_t place = image * s.channels + part.channel;
    rows.begin(x + place * s.height * s.width, part.used, -s.top);
    grads.begin(dy + place * s.out_height * s.out_width, part.used, 1 - kRows);
    written.begin(dx + place * s.height * s.width, part.used);
    int64_t counted = 0; // rows of dy that the kernel's gradient has
    for (int64_t row = 0; row < s.height; ++row) {
      const int64_t last = (row + s.top) / S;
      const Vec *from[kRows];
      for (; counted < s.out_height && counted <= last; ++counted) {
        grads.load_to(counted);
        const int64_t first = counted * S - s.top;
        rows.load_to(first + K - 1);
        const Vec *in[K];
        for (int a = 0; a < K; ++a)
          in[a] = rows.at(first + a) - s.left;
        add_kernel_gradient<K, S>(in, grads.at(counted), s.out_width, sums);
      }
      grads.load_to(last);
      Vec *to = written.row(row);
      if constexpr (S == 1) {
        for (int a = 0; a < K; ++a)
          from[a] = grads.at(last - K + 1 + a) - K + 1 + s.left;
        output_row<K, 1>(from, s.width, kernel, to);
      } else {
        for (int i = 0; i < kRows; ++i)
          from[i] = grads.at(last - i);
        if ((row + s.top) % 2)
          input_row<K, 1>(from, pairs, kernel, padded);
        else
          input_row<K, 0>(from, pairs, kernel, padded);
        std::copy(padded + s.left, padded + s.left + s.width, to);
      }
      written.end_row(row);
    }
  }
  const int64_t group = part.first / s.images_a_task();
  scatter(sums, K * K, parts + (group * s.channels + part.channel) * K * K,
          K * K, part.used);
}

template <int S> Sizes sizes_of(const int64_t *x, int kernel, bool as_tf) {
  Sizes s = {x[0], x[1], x[2], x[3], (x[2] + S - 1) / S, (x[3] + S - 1) / S,
             0,    0};
  s.top = pad_before(s.height, s.out_height, kernel, S, as_tf);
  s.left = pad_before(s.width, s.out_width, kernel, S, as_tf);
  return s;
}

// Multiplications below which waking a thread costs more.
constexpr int64_t kSmall = 1000000;

template <int K, int S>
void forward_all(const Sizes &s, const float *x, const float *weight,
                 float *y) {
  const bool is_small =
      s.images * s.channels * s.out_height * s.out_width * K * K < kSmall;
  Pool::instance().run(s.tasks(), is_small, [&](int64_t task) {
    forward_part<K, S>(s, x, weight, y, task);
  });
}

template <int K, int S>
void backward_all(const Sizes &s, const float *x, const float *weight,
                  const float *dy, float *dx, float *dweight) {
  const bool is_small =
      s.images * s.channels * s.out_height * s.out_width * K * K < kSmall / 2;
  const int64_t taps = s.channels * K * K;
  std::vector<float> parts(s.groups() * taps);
  Pool::instance().run(s.tasks(), is_small, [&](int64_t task) {
    backward_part<K, S>(s, x, weight, dy, dx, parts.data(), task);
  });
  for (int64_t i = 0; i < taps; ++i) {
    double sum = 0;
    for (int64_t group = 0; group < s.groups(); ++group)
      sum += parts[group * taps + i];
    dweight[i] = static_cast<float>(sum);
  }
}

// What MindSpore passes: inputs, then outputs; x (N, C, H, W), weight (C, 1, K,
// K).
template <int S> int forward(void **params, int64_t **shapes, bool as_tf) {
  const int kernel = static_cast<int>(shapes[1][3]);
  const Sizes s = sizes_of<S>(shapes[0], kernel, as_tf);
  auto *x = static_cast<const float *>(params[0]),
       *weight = static_cast<const float *>(params[1]);
  auto *y = static_cast<float *>(params[2]);
  if (kernel == 3)
    forward_all<3, S>(s, x, weight, y);
  else if (kernel == 5)
    forward_all<5, S>(s, x, weight, y);
  else
    return 1;
  return 0;
}

template <int S> int backward(void **params, int64_t **shapes, bool as_tf) {
  const int kernel = static_cast<int>(shapes[1][3]);
  const Sizes s = sizes_of<S>(shapes[0], kernel, as_tf);
  auto *x = static_cast<const float *>(params[0]),
       *weight = static_cast<const float *>(params[1]);
  auto *dy = static_cast<const float *>(params[2]);
  auto *dx = static_cast<float *>(params[3]),
       *dweight = static_cast<float *>(params[4]);
  if (kernel == 3)
    backward_all<3, S>(s, x, weight, dy, dx, dweight);
  else if (kernel == 5)
    backward_all<5, S>(s, x, weight, dy, dx, dweight);
  else
    return 1;
  return 0;
}

} // namespace

#define OPERATOR(name, call)                                                   \
  extern "C" int name(int, void **params, int *, int64_t **shapes,             \
                      const char **, void *, void *) {                         \
    return call;                                                               \
  }

OPERATOR(forward_1_symmetric, forward<1>(params, shapes, false))
OPERATOR(forward_2_symmetric, forward<2>(params, shapes, false))
OPERATOR(forward_1_same, forward<1>(params, shapes, true))
OPERATOR(forward_2_same, forward<2>(params, shapes, true))
OPERATOR(backward_1_symmetric, backward<1>(params, shapes, false))
OPERATOR(backward_2_symmetric, backward<2>(params, shapes, false))
OPERATOR(backward_1_same, backward<1>(params, shapes, true))
OPERATOR(backward_2_same, backward<2>(params, shapes, true))

extern "C" void set_threads(int count) { Pool::instance().set_count(count); }
