// What is before and after the blocks, in training: the stem from images (N, 3,
// H, W) to a map, and the head from a map to its means (N, channels). Both are
// a convolution, batch norm and SiLU.
#include "block.h"

namespace blocks {
namespace {

constexpr int kSide = 3, kColors = 3, kTaps = kColors * kSide * kSide;
constexpr int kStride = 2;

struct Stem {
  const float *images;
  int64_t count, channels;
  Plane plane;

  int64_t pixels() const { return count * plane.out_size(); }

  // What the kernel meets at some outputs, as the pixels of a 1x1 kernel with
  // 27 inputs.
  View patches(int64_t row, int64_t rows) const {
    float *made = thread_memory(2 * rows * kLanes);
    std::fill(made, made + 2 * rows * kLanes, 0.0f);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t image = (row + i) / plane.out_size();
      const int64_t at = (row + i) % plane.out_size();
      const int64_t top = at / plane.out_width * kStride - plane.top;
      const int64_t left = at % plane.out_width * kStride - plane.left;
      int tap = 0;
      for (int color = 0; color < kColors; ++color) {
        const float *from = images + (image * kColors + color) * plane.size();
        for (int a = 0; a < kSide; ++a)
          for (int b = 0; b < kSide; ++b, ++tap) {
            const int64_t y = top + a, x = left + b;
            if (y >= 0 && y < plane.height && x >= 0 && x < plane.width)
              made[(tap / kLanes * rows + i) * kLanes + tap % kLanes] =
                  from[y * plane.width + x];
          }
      }
    }
    return {made, rows * kLanes};
  }
};

struct Common {
  const Settings *settings;
  Stem stem;
  int64_t in, images, size; // of the head
  const float *x, *weight;
  Norm norm;
  float *moving_mean, *moving_variance;

  int64_t pixels(bool is_stem) const {
    return is_stem ? stem.pixels() : images * size;
  }
};

Common read(Passed &passed, bool is_stem, bool forward) {
  Common c{};
  c.settings = reinterpret_cast<const Settings *>(passed.next());
  const int64_t *shape = passed.shape();
  c.x = passed.next();
  if (is_stem) {
    c.stem.images = c.x, c.stem.count = shape[0];
    c.stem.plane =
        Plane(shape[2], shape[3], kSide, kStride, c.settings->as_tf > 0);
  } else {
    c.images = shape[1], c.size = shape[2] * shape[3];
  }
  c.norm.channels = passed.shape()[0], c.in = passed.shape()[1];
  c.weight = passed.next();
  c.norm.gamma = passed.next(), c.norm.beta = passed.next();
  if (forward)
    c.moving_mean = passed.next(), c.moving_variance = passed.next();
  return c;
}

// The convolution's result, followed by the statistics.
float *place_statistics(float *saved, int64_t pixels, Norm &norm) {
  const int64_t padded = blocks_of(norm.channels) * kLanes;
  norm.mean = saved + pixels * padded;
  norm.root = norm.mean + padded;
  return saved;
}

int forward(Passed passed, bool is_stem) {
  Arena &arena = Arena::instance();
  std::lock_guard<std::mutex> lock(arena.mutex);
  Common c = read(passed, is_stem, true);
  float *y = passed.next();
  const int64_t pixels = c.pixels(is_stem),
                columns = blocks_of(c.norm.channels);
  float *made = place_statistics(passed.next(), pixels, c.norm);
  const Vec *packed = packed_forward(c.weight, c.norm.channels,
                                     is_stem ? kTaps : c.in, arena.packed);
  if (is_stem) {
    const int64_t chunks = parts_of(pixels, kChunk);
    arena.partials.begin(chunks, columns);
    Pool::instance().run(chunks, false, [&](int64_t chunk) {
      const int64_t row = chunk * kChunk, rows = std::min(kChunk, pixels - row);
      const View patches = c.stem.patches(row, rows);
      product(patches.at, patches.stride, 2, rows, packed, 0, columns,
              made + row * kLanes, pixels * kLanes);
      for (int64_t block = 0; block < columns; ++block)
        arena.partials.at(chunk, block)
            .add(made + (block * pixels + row) * kLanes, rows);
    });
  } else {
    product_with_moments(c.x, pixels, blocks_of(c.in), packed, columns, made,
                         arena.partials);
  }
  finish(arena.partials, c.norm, c.settings->epsilon, c.settings->share,
         c.moving_mean, c.moving_variance);
  if (is_stem) {
    each_part(columns, pixels, kChunk,
              [&](int64_t block, int64_t, int64_t row, int64_t rows) {
                const Line line(c.norm, block);
                for (int64_t i = row; i < row + rows; ++i) {
                  const int64_t at = (block * pixels + i) * kLanes;
                  const Vec z = line(load(made + at));
                  store(y + at, z * sigmoid(z));
                }
              });
    return 0;
  }
  float *means = grown(arena.places[3], columns * c.images * kLanes);
  pool(made, c.norm, c.images, c.size, means);
  for (int64_t block = 0; block < columns; ++block)
    for (int64_t i = 0; i < c.images; ++i)
      put_part(y + i * c.norm.channels, block * kLanes, c.norm.channels,
               load(means + (block * c.images + i) * kLanes));
  return 0;
}

int backward(Passed passed, bool is_stem) {
  Arena &arena = Arena::instance();
  std::lock_guard<std::mutex> lock(arena.mutex);
  Common c = read(passed, is_stem, false);
  const int64_t pixels = c.pixels(is_stem),
                columns = blocks_of(c.norm.channels);
  const float *made = place_statistics(passed.next(), pixels, c.norm);
  const float *dy = passed.next();
  float *dx = is_stem ? nullptr : passed.next();
  float *dweight = passed.next(), *dgamma = passed.next(),
        *dbeta = passed.next();
  float *dz = grown(arena.places[1], columns * pixels * kLanes);
  arena.partials.begin(parts_of(pixels, kChunk), columns);
  each_part(
      columns, pixels, kChunk,
      [&](int64_t block, int64_t chunk, int64_t row, int64_t rows) {
        const Line line(c.norm, block);
        Vec sum = {}, product = {};
        auto part = [&](int64_t from, int64_t to, auto gradient) {
          for (int64_t i = from; i < to; ++i) {
            const int64_t at = (block * pixels + i) * kLanes;
            const Vec in = load(made + at), z = line(in);
            const Vec found = gradient(at) * silu_slope(z, sigmoid(z));
            store(dz + at, found);
            sum += found;
            product += found * (in - line.mean);
          }
        };
        if (is_stem)
          part(row, row + rows, [&](int64_t at) { return load(dy + at); });
        else
          each_image(
              row, rows, c.size, [&](int64_t image, int64_t from, int64_t to) {
                const Vec mean = part_of(dy + image * c.norm.channels,
                                         block * kLanes, c.norm.channels) /
                                 static_cast<float>(c.size);
                part(from, to, [&](int64_t) { return mean; });
              });
        Moments &sums = arena.partials.at(chunk, block);
        sums.sum = sum, sums.squares = product;
      });
  arena.norm.finish(arena.partials, c.norm, static_cast<double>(pixels), dgamma,
                    dbeta);
  auto through_norm = [&](int64_t from, int64_t to, int64_t row, int64_t rows) {
    for (int64_t block = from; block < to; ++block) {
      const BackwardLine line(c.norm, arena.norm, block);
      for (int64_t i = row; i < row + rows; ++i) {
        const int64_t at = (block * pixels + i) * kLanes;
        store(dz + at, line(load(dz + at), load(made + at)));
      }
    }
    return View{dz + (from * pixels + row) * kLanes, pixels * kLanes};
  };
  if (is_stem) {
    kernel_gradient(
        pixels, c.norm.channels, kTaps, false, through_norm,
        [&](int64_t, int64_t, int64_t row, int64_t rows) {
          return c.stem.patches(row, rows);
        },
        dweight, arena.sums);
    return 0;
  }
  kernel_gradient(
      pixels, c.norm.channels, c.in, false, through_norm,
      [&](int64_t block, int64_t, int64_t row, int64_t) {
        return View{c.x + (block * pixels + row) * kLanes, pixels * kLanes};
      },
      dweight, arena.sums);
  product_back(dz, pixels, columns,
               packed_backward(c.weight, c.norm.channels, c.in, arena.packed),
               blocks_of(c.in), dx);
  return 0;
}

} // namespace
} // namespace blocks

OPERATOR(stem_forward, forward({params, ndims, shapes}, true))
OPERATOR(head_forward, forward({params, ndims, shapes}, false))
OPERATOR(stem_backward, backward({params, ndims, shapes}, true))
OPERATOR(head_backward, backward({params, ndims, shapes}, false))
