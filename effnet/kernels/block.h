// One block of EfficientNet: what both directions know of it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <mutex>

#include "norms.h"
#include "planes.h"
#include "products.h"

namespace blocks {

// The numbers that an operator is made with; see `fused.py`.
struct Settings {
  float epsilon, share; // of batch norm; share: of the batch in a moving value
  float column, keep;   // of the block's noise; column -1: it drops nothing
  float has_skip, stride, as_tf, expands;
};

// Memory of the process that operators use one after the other.
struct Arena {
  std::mutex mutex;
  std::vector<float> packed, sums, places[4];
  Partials partials;
  Backward norm;

  static Arena &instance() {
    static Arena *arena = new Arena();
    return *arena;
  }
};

// What MindSpore passes, one after the other.
class Passed {
public:
  Passed(void **values, int *ndims, int64_t **shapes)
      : values_(values), ndims_(ndims), shapes_(shapes) {}

  float *next() { return static_cast<float *>(values_[at_++]); }
  // Of the value that comes next.
  const int64_t *shape() const { return shapes_[at_]; }
  int ndim() const { return ndims_[at_]; }

private:
  void **values_;
  int *ndims_;
  int64_t **shapes_;
  int at_ = 0;
};

// The sizes of a block, and where the saved memory has what.
struct Block {
  Settings settings;
  int64_t images, in, wide, squeezed, out; // channels
  int kernel, stride;
  Plane plane;
  int64_t pixels, out_pixels;
  bool expands, has_skip;
  const float *noise;
  int64_t noise_width; // 0: there is none

  int64_t wide_blocks() const { return blocks_of(wide); }

  // Reads what comes first: settings, noise, x. The shapes of weights follow.
  const float *begin(Passed &passed) {
    settings = *reinterpret_cast<const Settings *>(passed.next());
    noise_width = passed.ndim() == 2 ? passed.shape()[1] : 0;
    noise = passed.next();
    const int64_t *x = passed.shape();
    images = x[1];
    stride = static_cast<int>(settings.stride);
    expands = settings.expands > 0;
    has_skip = settings.has_skip > 0;
    plane.height = x[2], plane.width = x[3];
    return passed.next();
  }

  // The depthwise kernel's shape.
  void sizes(const int64_t *shape) {
    wide = shape[0], kernel = static_cast<int>(shape[2]);
    plane =
        Plane(plane.height, plane.width, kernel, stride, settings.as_tf > 0);
    pixels = images * plane.size(), out_pixels = images * plane.out_size();
  }

  // What this image's branch is multiplied by.
  float branch_scale(int64_t image) const {
    const auto column = static_cast<int64_t>(settings.column);
    if (column < 0 || noise_width == 0)
      return 1.0f;
    return std::floor(noise[image * noise_width + column] + settings.keep) /
           settings.keep;
  }

  // Images that a task convolves.
  int64_t images_a_task() const {
    return std::min(std::max<int64_t>(512 / plane.size(), 1), images);
  }
  int64_t image_groups() const { return parts_of(images, images_a_task()); }
};

struct Saved {
  float *expanded, *convolved, *projected, *pooled, *squeezed, *gate;
  float *means[3], *roots[3];

  // The same layout as `saved_size` of `fused.py` counts.
  Saved(float *memory, const Block &b) {
    const int64_t wide = b.wide_blocks() * kLanes;
    const int64_t out = blocks_of(b.out) * kLanes;
    auto take = [&memory](int64_t count) {
      float *found = memory;
      memory += count;
      return found;
    };
    expanded = take(b.expands ? b.pixels * wide : 0);
    convolved = take(b.out_pixels * wide);
    projected = take(b.out_pixels * out);
    pooled = take(b.images * wide);
    gate = take(b.images * wide);
    squeezed = take(b.images * blocks_of(b.squeezed) * kLanes);
    for (int i = 0; i < 3; ++i) {
      means[i] = take(i < 2 ? wide : out);
      roots[i] = take(i < 2 ? wide : out);
    }
  }
};

// Sixteen kernels of `taps` weights as vectors.
inline void kernel_of(const float *weight, int64_t block, int64_t channels,
                      int taps, Vec *to) {
  for (int tap = 0; tap < taps; ++tap) {
    Vec found = {};
    for (int64_t lane = 0; lane < kLanes; ++lane)
      if (block * kLanes + lane < channels)
        found[lane] = weight[(block * kLanes + lane) * taps + tap];
    to[tap] = found;
  }
}

// Calls `call(image, first, last)` for the images that pixels row ... row +
// rows - 1 belong to; `size` pixels each.
template <typename Call>
void each_image(int64_t row, int64_t rows, int64_t size, Call call) {
  for (int64_t first = row; first < row + rows;) {
    const int64_t image = first / size;
    const int64_t last = std::min((image + 1) * size, row + rows);
    call(image, first, last);
    first = last;
  }
}

// out = x times a 1x1 kernel, and the moments of each chunk of its pixels.
inline void product_with_moments(const float *x, int64_t pixels,
                                 int64_t in_blocks, const Vec *packed,
                                 int64_t out_blocks, float *out,
                                 Partials &partials) {
  const int64_t chunks = parts_of(pixels, kChunk);
  partials.begin(chunks, out_blocks);
  const Split split(chunks, out_blocks);
  const bool is_small =
      pixels * in_blocks * out_blocks * kLanes * kLanes < kSmallProduct;
  Pool::instance().run(split.tasks(), is_small, [&](int64_t task) {
    const int64_t chunk = split.chunk(task), row = chunk * kChunk;
    const int64_t rows = std::min(kChunk, pixels - row);
    product(x + row * kLanes, pixels * kLanes, in_blocks, rows, packed,
            split.first(task), split.last(task), out + row * kLanes,
            pixels * kLanes);
    for (int64_t block = split.first(task); block < split.last(task); ++block)
      partials.at(chunk, block)
          .add(out + (block * pixels + row) * kLanes, rows);
  });
}

// Calls `call(block, chunk, row, rows)` for each block of channels and each
// chunk of pixels, on all threads.
template <typename Call>
void each_part(int64_t column_count, int64_t pixels, int64_t size, Call call) {
  const int64_t chunks = parts_of(pixels, size);
  const bool is_small = column_count * pixels < 4000;
  Pool::instance().run(column_count * chunks, is_small, [&](int64_t task) {
    const int64_t block = task / chunks, row = task % chunks * size;
    call(block, task % chunks, row, std::min(size, pixels - row));
  });
}

// (N, 16) of each block of channels: the mean of silu(norm(x)) over each image.
inline void pool(const float *x, const Norm &norm, int64_t images, int64_t size,
                 float *pooled) {
  each_part(blocks_of(norm.channels), images, std::max<int64_t>(512 / size, 1),
            [&](int64_t block, int64_t, int64_t first, int64_t count) {
              const Line line(norm, block);
              for (int64_t image = first; image < first + count; ++image) {
                const float *from =
                    x + (block * images + image) * size * kLanes;
                Vec sum = {};
                for (int64_t i = 0; i < size; i += kChunk) {
                  Vec part = {};
                  for (int64_t j = i; j < std::min(i + kChunk, size); ++j) {
                    const Vec z = line(load(from + j * kLanes));
                    part += z * sigmoid(z);
                  }
                  sum += part;
                }
                store(pooled + (block * images + image) * kLanes,
                      sum / static_cast<float>(size));
              }
            });
}

// dx = dy times a 1x1 kernel's transpose.
inline void product_back(const float *dy, int64_t pixels, int64_t out_blocks,
                         const Vec *packed, int64_t in_blocks, float *dx) {
  const Split split(parts_of(pixels, kChunk), in_blocks);
  const bool is_small =
      pixels * in_blocks * out_blocks * kLanes * kLanes < kSmallProduct;
  Pool::instance().run(split.tasks(), is_small, [&](int64_t task) {
    const int64_t row = split.chunk(task) * kChunk;
    product(dy + row * kLanes, pixels * kLanes, out_blocks,
            std::min(kChunk, pixels - row), packed, split.first(task),
            split.last(task), dx + row * kLanes, pixels * kLanes);
  });
}

} // namespace blocks

// What MindSpore calls.
#define OPERATOR(name, call)                                                   \
  extern "C" int name(int, void **params, int *ndims, int64_t **shapes,        \
                      const char **, void *, void *) {                         \
    return blocks::call;                                                       \
  }
