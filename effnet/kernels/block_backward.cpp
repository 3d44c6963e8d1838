// The gradients of a whole block. Activations are computed again from what the
// convolutions gave, so that only that had to be kept.
#include "block.h"

namespace blocks {
namespace {

// The gradient of `projected`, (out_pixels, out channels), in `dp`.
void through_last_norm(const Block &b, const Saved &saved, const Norm &norm,
                       const float *dy, float *dp, Arena &arena, float *dgamma,
                       float *dbeta) {
  const int64_t columns = blocks_of(b.out), size = b.plane.out_size();
  arena.partials.begin(parts_of(b.out_pixels, kChunk), columns);
  each_part(columns, b.out_pixels, kChunk,
            [&](int64_t block, int64_t chunk, int64_t row, int64_t rows) {
              const Vec mean = load(norm.mean + block * kLanes);
              Moments &sums = arena.partials.at(chunk, block);
              each_image(row, rows, size,
                         [&](int64_t image, int64_t from, int64_t to) {
                           const float scale = b.branch_scale(image);
                           for (int64_t i = from; i < to; ++i) {
                             const int64_t at =
                                 (block * b.out_pixels + i) * kLanes;
                             const Vec dz = load(dy + at) * scale;
                             sums.sum += dz;
                             sums.squares +=
                                 dz * (load(saved.projected + at) - mean);
                           }
                         });
            });
  arena.norm.finish(arena.partials, norm, static_cast<double>(b.out_pixels),
                    dgamma, dbeta);
  each_part(columns, b.out_pixels, kChunk,
            [&](int64_t block, int64_t, int64_t row, int64_t rows) {
              const BackwardLine line(norm, arena.norm, block);
              each_image(row, rows, size,
                         [&](int64_t image, int64_t from, int64_t to) {
                           const float scale = b.branch_scale(image);
                           for (int64_t i = from; i < to; ++i) {
                             const int64_t at =
                                 (block * b.out_pixels + i) * kLanes;
                             store(dp + at, line(load(dy + at) * scale,
                                                 load(saved.projected + at)));
                           }
                         });
            });
}

// The gradient of each gate: the sum of dq * silu(norm(convolved)) over an
// image.
void gate_gradient(const Block &b, const Saved &saved, const Norm &norm,
                   const float *dq, float *dgate) {
  const int64_t size = b.plane.out_size();
  each_part(b.wide_blocks(), b.images, std::max<int64_t>(512 / size, 1),
            [&](int64_t block, int64_t, int64_t first, int64_t count) {
              const Line line(norm, block);
              for (int64_t image = first; image < first + count; ++image) {
                const int64_t at =
                    (block * b.out_pixels + image * size) * kLanes;
                Vec sum = {};
                for (int64_t i = 0; i < size; i += kChunk) {
                  Vec part = {};
                  for (int64_t j = i; j < std::min(i + kChunk, size); ++j) {
                    const Vec z = line(load(saved.convolved + at + j * kLanes));
                    part += load(dq + at + j * kLanes) * z * sigmoid(z);
                  }
                  sum += part;
                }
                store(dgate + (block * b.images + image) * kLanes, sum);
              }
            });
}

// The sum over all images of each of `channels`.
void bias_gradient(const float *dy, int64_t images, int64_t channels,
                   float *dbias) {
  for (int64_t block = 0; block < blocks_of(channels); ++block) {
    Vec sum = {};
    for (int64_t i = 0; i < images; ++i)
      sum += load(dy + (block * images + i) * kLanes);
    put_part(dbias, block * kLanes, channels, sum);
  }
}

struct Squeeze {
  const float *reduce, *gate;                         // weights
  float *dreduce, *dreduce_bias, *dgate, *dgate_bias; // their gradients
};

// From the gradient of the gates to that of the means, in place.
void through_gates(const Block &b, const Saved &saved, const Squeeze &s,
                   float *dmeans, Arena &arena) {
  const int64_t wide = b.wide_blocks(), narrow = blocks_of(b.squeezed);
  for (int64_t i = 0; i < wide * b.images; ++i) {
    const Vec g = load(saved.gate + i * kLanes);
    store(dmeans + i * kLanes, load(dmeans + i * kLanes) * g * (1.0f - g));
  }
  bias_gradient(dmeans, b.images, b.wide, s.dgate_bias);
  float *active = grown(arena.places[3], 2 * narrow * b.images * kLanes);
  float *dsqueezed = active + narrow * b.images * kLanes;
  for (int64_t i = 0; i < narrow * b.images; ++i) {
    const Vec z = load(saved.squeezed + i * kLanes);
    store(active + i * kLanes, z * sigmoid(z));
  }
  auto view = [&](const float *from) {
    return [from, images = b.images](int64_t first, int64_t, int64_t row,
                                     int64_t) {
      return View{from + (first * images + row) * kLanes, images * kLanes};
    };
  };
  kernel_gradient(b.images, b.wide, b.squeezed, false, view(dmeans),
                  view(active), s.dgate, arena.sums);
  product_back(dmeans, b.images, wide,
               packed_backward(s.gate, b.wide, b.squeezed, arena.packed),
               narrow, dsqueezed);
  for (int64_t i = 0; i < narrow * b.images; ++i) {
    const Vec z = load(saved.squeezed + i * kLanes);
    store(dsqueezed + i * kLanes,
          load(dsqueezed + i * kLanes) * silu_slope(z, sigmoid(z)));
  }
  bias_gradient(dsqueezed, b.images, b.squeezed, s.dreduce_bias);
  kernel_gradient(b.images, b.squeezed, b.wide, true, view(dsqueezed),
                  view(saved.pooled), s.dreduce, arena.sums);
  product_back(dsqueezed, b.images, narrow,
               packed_backward(s.reduce, b.squeezed, b.wide, arena.packed),
               wide, dmeans);
}

// The gradient of the second norm's output, in place of dq, and its sums.
void through_silu(const Block &b, const Saved &saved, const Norm &norm,
                  const float *dmeans, float *dq, Arena &arena) {
  const int64_t size = b.plane.out_size();
  arena.partials.begin(parts_of(b.out_pixels, kChunk), b.wide_blocks());
  each_part(
      b.wide_blocks(), b.out_pixels, kChunk,
      [&](int64_t block, int64_t chunk, int64_t row, int64_t rows) {
        const Line line(norm, block);
        Moments &sums = arena.partials.at(chunk, block);
        Vec sum = {}, product = {};
        each_image(
            row, rows, size, [&](int64_t image, int64_t from, int64_t to) {
              const int64_t place = (block * b.images + image) * kLanes;
              const Vec gate = load(saved.gate + place);
              const Vec mean = load(dmeans + place) / static_cast<float>(size);
              for (int64_t i = from; i < to; ++i) {
                const int64_t at = (block * b.out_pixels + i) * kLanes;
                const Vec x = load(saved.convolved + at), z = line(x);
                const Vec dz =
                    (load(dq + at) * gate + mean) * silu_slope(z, sigmoid(z));
                store(dq + at, dz);
                sum += dz;
                product += dz * (x - line.mean);
              }
            });
        sums.sum = sum, sums.squares = product;
      });
}

// The depthwise convolution: from dz of its norm to dz of the norm before it,
// or without one to the block's input.
void through_convolution(const Block &b, const Saved &saved, const float *x,
                         const Norm *first, const Norm &second,
                         const float *weight, const float *dz, float *dx,
                         const float *dy, float *dweight, Arena &arena) {
  const int taps = b.kernel * b.kernel;
  const int64_t groups = b.image_groups(), wide = b.wide_blocks();
  const Plane &p = b.plane;
  float *parts = grown(arena.sums, groups * wide * taps * kLanes);
  arena.partials.begin(groups, wide);
  with_sizes(b.kernel, b.stride, [&](auto side, auto step) {
    Pool::instance().run(
        groups * wide, b.out_pixels * b.wide * taps < kSmallProduct / 2,
        [&](int64_t task) {
          const int64_t block = task / groups, group = task % groups;
          const int64_t last =
              std::min((group + 1) * b.images_a_task(), b.images);
          Vec kernel[25], sums[25] = {};
          kernel_of(weight, block, b.wide, taps, kernel);
          const Line line = first ? Line(*first, block) : Line();
          const BackwardLine back(second, arena.norm, block);
          Moments &moments = arena.partials.at(group, block);
          for (int64_t image = group * b.images_a_task(); image < last;
               ++image) {
            const int64_t place =
                (block * b.pixels + image * p.size()) * kLanes;
            const int64_t out_place =
                (block * b.out_pixels + image * p.out_size()) * kLanes;
            auto make = [&](int64_t row, Vec *made) {
              const float *pixels = x + place + row * p.width * kLanes;
              for (int64_t i = 0; i < p.width; ++i) {
                Vec z = load(pixels + i * kLanes);
                if (first) {
                  z = line(z);
                  z *= sigmoid(z);
                }
                made[i] = z;
              }
            };
            auto make_gradient = [&](int64_t row, Vec *made) {
              const int64_t at = out_place + row * p.out_width * kLanes;
              for (int64_t i = 0; i < p.out_width; ++i)
                made[i] = back(load(dz + at + i * kLanes),
                               load(saved.convolved + at + i * kLanes));
            };
            auto done = [&](int64_t row, const Vec *gradient) {
              const int64_t at = place + row * p.width * kLanes;
              Vec sum = {}, product = {};
              for (int64_t i = 0; i < p.width; ++i) {
                Vec found = gradient[i];
                if (first) {
                  const Vec in = load(x + at + i * kLanes), z = line(in);
                  found *= silu_slope(z, sigmoid(z));
                  sum += found;
                  product += found * (in - line.mean);
                } else if (dy) {
                  found += load(dy + at + i * kLanes);
                }
                store(dx + at + i * kLanes, found);
              }
              moments.sum += sum, moments.squares += product;
            };
            convolve_back<side.value, step.value>(p, kernel, sums, make,
                                                  make_gradient, done);
          }
          for (int tap = 0; tap < taps; ++tap)
            store(parts + ((group * wide + block) * taps + tap) * kLanes,
                  sums[tap]);
        });
  });
  for (int64_t channel = 0; channel < b.wide; ++channel)
    for (int tap = 0; tap < taps; ++tap) {
      double sum = 0;
      for (int64_t group = 0; group < groups; ++group)
        sum += parts[((group * wide + channel / kLanes) * taps + tap) * kLanes +
                     channel % kLanes];
      dweight[channel * taps + tap] = static_cast<float>(sum);
    }
}

} // namespace

int block_backward(void **params, int *ndims, int64_t **shapes) {
  Arena &arena = Arena::instance();
  std::lock_guard<std::mutex> lock(arena.mutex);
  Passed passed(params, ndims, shapes);
  Block b;
  const float *x = b.begin(passed);
  const float *gammas[3] = {}, *betas[3] = {}, *expand = nullptr;
  auto read_norm = [&](int i) {
    gammas[i] = passed.next(), betas[i] = passed.next();
  };
  b.in = 0;
  if (b.expands) {
    b.in = passed.shape()[1];
    expand = passed.next();
    read_norm(0);
  }
  b.sizes(passed.shape());
  if (!b.expands)
    b.in = b.wide;
  const float *depthwise = passed.next();
  read_norm(1);
  b.squeezed = passed.shape()[0];
  Squeeze squeeze{};
  squeeze.reduce = passed.next(), passed.next();
  squeeze.gate = passed.next(), passed.next();
  b.out = passed.shape()[0];
  const float *projection = passed.next();
  read_norm(2);
  const Saved saved(passed.next(), b);
  const float *dy = passed.next();

  float *dx = passed.next();
  float *dgammas[3] = {}, *dbetas[3] = {}, *dexpand = nullptr;
  auto write_norm = [&](int i) {
    dgammas[i] = passed.next(), dbetas[i] = passed.next();
  };
  if (b.expands) {
    dexpand = passed.next();
    write_norm(0);
  }
  float *ddepthwise = passed.next();
  write_norm(1);
  squeeze.dreduce = passed.next(), squeeze.dreduce_bias = passed.next();
  squeeze.dgate = passed.next(), squeeze.dgate_bias = passed.next();
  float *dprojection = passed.next();
  write_norm(2);
  auto norm_of = [&](int i) {
    return Norm{gammas[i], betas[i], saved.means[i], saved.roots[i],
                i < 2 ? b.wide : b.out};
  };
  const Norm first = norm_of(0), second = norm_of(1), third = norm_of(2);
  const int64_t wide = b.wide_blocks(), out = blocks_of(b.out),
                in = blocks_of(b.in);

  float *dp =
      grown(arena.places[2], (out * b.out_pixels + wide * b.images) * kLanes);
  float *dmeans = dp + out * b.out_pixels * kLanes;
  through_last_norm(b, saved, third, dy, dp, arena, dgammas[2], dbetas[2]);
  float *dq = grown(arena.places[0], wide * b.out_pixels * kLanes);
  product_back(dp, b.out_pixels, out,
               packed_backward(projection, b.out, b.wide, arena.packed), wide,
               dq);
  auto pixels_of = [](const float *from, int64_t pixels) {
    return [from, pixels](int64_t block, int64_t, int64_t row, int64_t) {
      return View{from + (block * pixels + row) * kLanes, pixels * kLanes};
    };
  };
  auto gated = [&](int64_t from, int64_t to, int64_t row, int64_t rows) {
    float *made = thread_memory((to - from) * rows * kLanes);
    for (int64_t block = from; block < to; ++block) {
      const Line line(second, block);
      float *part = made + (block - from) * rows * kLanes;
      each_image(row, rows, b.plane.out_size(),
                 [&](int64_t image, int64_t begin, int64_t end) {
                   const Vec gate =
                       load(saved.gate + (block * b.images + image) * kLanes);
                   for (int64_t i = begin; i < end; ++i) {
                     const Vec z =
                         line(load(saved.convolved +
                                   (block * b.out_pixels + i) * kLanes));
                     store(part + (i - row) * kLanes, z * sigmoid(z) * gate);
                   }
                 });
    }
    return View{made, rows * kLanes};
  };
  kernel_gradient(b.out_pixels, b.out, b.wide, true,
                  pixels_of(dp, b.out_pixels), gated, dprojection, arena.sums);
  gate_gradient(b, saved, second, dq, dmeans);
  through_gates(b, saved, squeeze, dmeans, arena);
  through_silu(b, saved, second, dmeans, dq, arena);
  arena.norm.finish(arena.partials, second, static_cast<double>(b.out_pixels),
                    dgammas[1], dbetas[1]);
  if (!b.expands) {
    through_convolution(b, saved, x, nullptr, second, depthwise, dq, dx,
                        b.has_skip ? dy : nullptr, ddepthwise, arena);
    return 0;
  }
  float *dz = grown(arena.places[1], wide * b.pixels * kLanes);
  through_convolution(b, saved, saved.expanded, &first, second, depthwise, dq,
                      dz, nullptr, ddepthwise, arena);
  arena.norm.finish(arena.partials, first, static_cast<double>(b.pixels),
                    dgammas[0], dbetas[0]);
  // From dz of the first norm to the gradient of its input, in place.
  auto through_norm = [&](int64_t from, int64_t to, int64_t row, int64_t rows) {
    for (int64_t block = from; block < to; ++block) {
      const BackwardLine line(first, arena.norm, block);
      for (int64_t i = row; i < row + rows; ++i) {
        const int64_t at = (block * b.pixels + i) * kLanes;
        store(dz + at, line(load(dz + at), load(saved.expanded + at)));
      }
    }
    return View{dz + (from * b.pixels + row) * kLanes, b.pixels * kLanes};
  };
  kernel_gradient(b.pixels, b.wide, b.in, false, through_norm,
                  pixels_of(x, b.pixels), dexpand, arena.sums);
  product_back(dz, b.pixels, wide,
               packed_backward(expand, b.wide, b.in, arena.packed), in, dx);
  if (b.has_skip)
    each_part(in, b.pixels, kChunk,
              [&](int64_t block, int64_t, int64_t row, int64_t rows) {
                for (int64_t i = (block * b.pixels + row) * kLanes; rows-- > 0;
                     i += kLanes)
                  store(dx + i, load(dx + i) + load(dy + i));
              });
  return 0;
}

} // namespace blocks

// MindSpore keeps one gradient for each name, and these two have other inputs.
OPERATOR(block_backward, block_backward(params, ndims, shapes))
OPERATOR(expanding_block_backward, block_backward(params, ndims, shapes))
