// A whole block in training, forward: expand, depthwise, squeeze-excite,
// project, each with its batch norm, and the skip connection.
#include "block.h"

namespace blocks {
namespace {

// What the projection reads: silu(norm(x)) times the gate, of some pixels.
void gated(const Block &b, const Saved &saved, const Norm &norm, int64_t block,
           int64_t row, int64_t rows, float *to) {
  const Line line(norm, block);
  const float *from = saved.convolved + block * b.out_pixels * kLanes;
  each_image(row, rows, b.plane.out_size(),
             [&](int64_t image, int64_t first, int64_t last) {
               const Vec gate =
                   load(saved.gate + (block * b.images + image) * kLanes);
               for (int64_t i = first; i < last; ++i) {
                 const Vec z = line(load(from + i * kLanes));
                 store(to + (i - row) * kLanes, z * sigmoid(z) * gate);
               }
             });
}

void project(const Block &b, const Saved &saved, const Norm &norm,
             const Vec *packed, Arena &arena) {
  const int64_t chunks = parts_of(b.out_pixels, kChunk);
  const int64_t in_blocks = b.wide_blocks(), out_blocks = blocks_of(b.out);
  if (Split(chunks, out_blocks).across > 1) {
    // Several tasks read the same pixels.
    float *whole = grown(arena.places[0], in_blocks * b.out_pixels * kLanes);
    each_part(in_blocks, b.out_pixels, kChunk,
              [&](int64_t block, int64_t, int64_t row, int64_t rows) {
                gated(b, saved, norm, block, row, rows,
                      whole + (block * b.out_pixels + row) * kLanes);
              });
    product_with_moments(whole, b.out_pixels, in_blocks, packed, out_blocks,
                         saved.projected, arena.partials);
    return;
  }
  arena.partials.begin(chunks, out_blocks);
  Pool::instance().run(chunks, false, [&](int64_t chunk) {
    const int64_t row = chunk * kChunk,
                  rows = std::min(kChunk, b.out_pixels - row);
    float *some = thread_memory(in_blocks * rows * kLanes);
    for (int64_t block = 0; block < in_blocks; ++block)
      gated(b, saved, norm, block, row, rows, some + block * rows * kLanes);
    float *out = saved.projected + row * kLanes;
    product(some, rows * kLanes, in_blocks, rows, packed, 0, out_blocks, out,
            b.out_pixels * kLanes);
    for (int64_t block = 0; block < out_blocks; ++block)
      arena.partials.at(chunk, block)
          .add(out + block * b.out_pixels * kLanes, rows);
  });
}

void convolve_all(const Block &b, const float *x, const Norm *norm,
                  const float *weight, float *out, Partials &partials) {
  partials.begin(b.image_groups(), b.wide_blocks());
  const int taps = b.kernel * b.kernel;
  const Plane &p = b.plane;
  with_sizes(b.kernel, b.stride, [&](auto side, auto step) {
    Pool::instance().run(
        b.image_groups() * b.wide_blocks(),
        b.out_pixels * b.wide * taps < kSmallProduct, [&](int64_t task) {
          const int64_t block = task / b.image_groups();
          const int64_t group = task % b.image_groups();
          const int64_t last =
              std::min((group + 1) * b.images_a_task(), b.images);
          Vec kernel[25];
          kernel_of(weight, block, b.wide, taps, kernel);
          const Line line = norm ? Line(*norm, block) : Line();
          Moments &moments = partials.at(group, block);
          for (int64_t image = group * b.images_a_task(); image < last;
               ++image) {
            const float *from =
                x + (block * b.pixels + image * p.size()) * kLanes;
            float *to =
                out + (block * b.out_pixels + image * p.out_size()) * kLanes;
            auto make = [&](int64_t row, Vec *made) {
              const float *pixels = from + row * p.width * kLanes;
              for (int64_t i = 0; i < p.width; ++i) {
                Vec z = load(pixels + i * kLanes);
                if (norm) {
                  z = line(z);
                  z *= sigmoid(z);
                }
                made[i] = z;
              }
            };
            convolve<side.value, step.value>(
                p, kernel, to, make, [&](int64_t row) {
                  moments.add(to + row * p.out_width * kLanes, p.out_width);
                });
          }
        });
  });
}

// out = in times a small matrix, with a bias; `images` pixels.
void linear(const float *in, int64_t images, int64_t in_blocks,
            const Vec *packed, const float *bias, int64_t outputs, float *out) {
  const Split split(1, blocks_of(outputs));
  const bool is_small = images * in_blocks * outputs * kLanes < kSmallProduct;
  Pool::instance().run(split.tasks(), is_small, [&](int64_t task) {
    product(in, images * kLanes, in_blocks, images, packed, split.first(task),
            split.last(task), out, images * kLanes);
    for (int64_t block = split.first(task); block < split.last(task); ++block) {
      const Vec more = part_of(bias, block * kLanes, outputs);
      for (int64_t i = 0; i < images; ++i) {
        float *place = out + (block * images + i) * kLanes;
        store(place, load(place) + more);
      }
    }
  });
}

} // namespace

int block_forward(void **params, int *ndims, int64_t **shapes) {
  Arena &arena = Arena::instance();
  std::lock_guard<std::mutex> lock(arena.mutex);
  Passed passed(params, ndims, shapes);
  Block b;
  const float *x = b.begin(passed);
  struct Given {
    const float *gamma, *beta;
    float *moving_mean, *moving_variance;
  } norms[3] = {};
  auto read_norm = [&](Given &to) {
    to.gamma = passed.next(), to.beta = passed.next();
    to.moving_mean = passed.next(), to.moving_variance = passed.next();
  };
  const float *expand = nullptr;
  b.in = 0;
  if (b.expands) {
    b.in = passed.shape()[1];
    expand = passed.next();
    read_norm(norms[0]);
  }
  b.sizes(passed.shape());
  if (!b.expands)
    b.in = b.wide;
  const float *depthwise = passed.next();
  read_norm(norms[1]);
  b.squeezed = passed.shape()[0];
  const float *reduce = passed.next(), *reduce_bias = passed.next();
  const float *gate = passed.next(), *gate_bias = passed.next();
  b.out = passed.shape()[0];
  const float *projection = passed.next();
  read_norm(norms[2]);
  float *y = passed.next();
  const Saved saved(passed.next(), b);
  auto norm_of = [&](int i) {
    return Norm{norms[i].gamma, norms[i].beta, saved.means[i], saved.roots[i],
                i < 2 ? b.wide : b.out};
  };
  auto end_norm = [&](int i, const Norm &norm) {
    finish(arena.partials, norm, b.settings.epsilon, b.settings.share,
           norms[i].moving_mean, norms[i].moving_variance);
  };

  const Norm first = norm_of(0), second = norm_of(1), third = norm_of(2);
  const int64_t wide_blocks = b.wide_blocks();
  if (b.expands) {
    const Vec *packed = packed_forward(expand, b.wide, b.in, arena.packed);
    product_with_moments(x, b.pixels, blocks_of(b.in), packed, wide_blocks,
                         saved.expanded, arena.partials);
    end_norm(0, first);
  }
  convolve_all(b, b.expands ? saved.expanded : x, b.expands ? &first : nullptr,
               depthwise, saved.convolved, arena.partials);
  end_norm(1, second);

  pool(saved.convolved, second, b.images, b.plane.out_size(), saved.pooled);
  linear(saved.pooled, b.images, wide_blocks,
         packed_forward(reduce, b.squeezed, b.wide, arena.packed), reduce_bias,
         b.squeezed, saved.squeezed);
  const int64_t squeezed_blocks = blocks_of(b.squeezed);
  float *active = grown(arena.sums, squeezed_blocks * b.images * kLanes);
  for (int64_t i = 0; i < squeezed_blocks * b.images; ++i) {
    const Vec z = load(saved.squeezed + i * kLanes);
    store(active + i * kLanes, z * sigmoid(z));
  }
  linear(active, b.images, squeezed_blocks,
         packed_forward(gate, b.wide, b.squeezed, arena.packed), gate_bias,
         b.wide, saved.gate);
  for (int64_t i = 0; i < wide_blocks * b.images; ++i)
    store(saved.gate + i * kLanes, sigmoid(load(saved.gate + i * kLanes)));

  project(b, saved, second,
          packed_forward(projection, b.out, b.wide, arena.packed), arena);
  end_norm(2, third);
  each_part(blocks_of(b.out), b.out_pixels, kChunk,
            [&](int64_t block, int64_t, int64_t row, int64_t rows) {
              const Line line(third, block);
              each_image(row, rows, b.plane.out_size(),
                         [&](int64_t image, int64_t from, int64_t to) {
                           const float scale = b.branch_scale(image);
                           for (int64_t i = from; i < to; ++i) {
                             const int64_t at =
                                 (block * b.out_pixels + i) * kLanes;
                             Vec z = line(load(saved.projected + at)) * scale;
                             if (b.has_skip)
                               z += load(x + at);
                             store(y + at, z);
                           }
                         });
            });
  return 0;
}

} // namespace blocks

// MindSpore keeps one gradient for each name, and these two have other inputs.
OPERATOR(block_forward, block_forward(params, ndims, shapes))
OPERATOR(expanding_block_forward, block_forward(params, ndims, shapes))
