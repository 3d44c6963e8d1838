// Batch norm over maps of sixteen lanes: statistics, and what both directions
// need.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "vectors.h"

namespace blocks {

// Sums over some pixels about a value near their mean, so that nothing cancels.
struct Moments {
  Vec shift = {}, sum = {}, squares = {};
  int64_t count = 0;

  void add(const float *pixels, int64_t rows) {
    if (count == 0) {
      for (int64_t i = 0; i < rows; ++i)
        shift += load(pixels + i * kLanes);
      shift /= static_cast<float>(rows);
    }
    Vec s0 = {}, s1 = {}, q0 = {}, q1 = {};
    int64_t i = 0;
    for (; i + 2 <= rows; i += 2) {
      const Vec a = load(pixels + i * kLanes) - shift;
      const Vec b = load(pixels + (i + 1) * kLanes) - shift;
      s0 += a, s1 += b, q0 += a * a, q1 += b * b;
    }
    if (i < rows) {
      const Vec a = load(pixels + i * kLanes) - shift;
      s0 += a, q0 += a * a;
    }
    sum += s0 + s1, squares += q0 + q1, count += rows;
  }
};

// The moments of all tasks, or other pairs of sums: [part][block].
struct Partials {
  std::vector<Moments> all;
  int64_t parts = 0, columns = 0;

  void begin(int64_t part_count, int64_t column_count) {
    parts = part_count, columns = column_count;
    all.assign(parts * columns, Moments());
  }

  Moments &at(int64_t part, int64_t column) {
    return all[part * columns + column];
  }
};

// A norm's parameters, and the statistics that the forward pass leaves in the
// saved memory, padded.
struct Norm {
  const float *gamma, *beta;
  float *mean, *root; // root: 1 / sqrt(variance + epsilon)
  int64_t channels;
};

// z = (x - mean) * slope + shift, of sixteen channels.
struct Line {
  Vec mean, slope, shift;

  Line() = default;
  Line(const Norm &norm, int64_t block) {
    const int64_t first = block * kLanes;
    mean = load(norm.mean + first);
    slope = load(norm.root + first) * part_of(norm.gamma, first, norm.channels);
    shift = part_of(norm.beta, first, norm.channels);
  }

  Vec operator()(Vec x) const { return (x - mean) * slope + shift; }
};

// Mean and variance of a batch from the parts' moments; the moving ones take
// their share. Outside training, with a share below 0, the moving ones are
// used.
inline void finish(const Partials &partials, const Norm &norm, float epsilon,
                   float share, float *moving_mean, float *moving_variance) {
  for (int64_t block = 0; block < partials.columns; ++block)
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t channel = block * kLanes + lane;
      norm.mean[channel] = norm.root[channel] = 0;
      if (channel >= norm.channels)
        continue;
      if (share < 0) {
        const double variance = moving_variance[channel];
        norm.mean[channel] = moving_mean[channel];
        norm.root[channel] =
            static_cast<float>(1 / std::sqrt(variance + epsilon));
        continue;
      }
      double total = 0, count = 0;
      for (int64_t part = 0; part < partials.parts; ++part) {
        const Moments &m = partials.all[part * partials.columns + block];
        total += static_cast<double>(m.shift[lane]) * m.count + m.sum[lane];
        count += m.count;
      }
      const double mean = total / count;
      double squares = 0;
      for (int64_t part = 0; part < partials.parts; ++part) {
        const Moments &m = partials.all[part * partials.columns + block];
        const double off = m.shift[lane] - mean;
        squares +=
            m.squares[lane] + 2 * off * m.sum[lane] + off * off * m.count;
      }
      const double variance = squares > 0 ? squares / count : 0;
      norm.mean[channel] = static_cast<float>(mean);
      norm.root[channel] =
          static_cast<float>(1 / std::sqrt(variance + epsilon));
      const double unbiased =
          count > 1 ? variance * count / (count - 1) : variance;
      moving_mean[channel] +=
          share * (static_cast<float>(mean) - moving_mean[channel]);
      moving_variance[channel] +=
          share * (static_cast<float>(unbiased) - moving_variance[channel]);
    }
}

// The gradient of a norm's input: (dz - first - (x - mean) * second) * slope.
struct Backward {
  std::vector<float> first, second;

  // From the parts' sums of dz (`sum`) and of dz * (x - mean) (`squares`).
  void finish(const Partials &partials, const Norm &norm, double count,
              float *dgamma, float *dbeta) {
    first.assign(partials.columns * kLanes, 0);
    second.assign(partials.columns * kLanes, 0);
    for (int64_t block = 0; block < partials.columns; ++block)
      for (int lane = 0; lane < kLanes; ++lane) {
        const int64_t channel = block * kLanes + lane;
        if (channel >= norm.channels)
          continue;
        double sum = 0, product = 0;
        for (int64_t part = 0; part < partials.parts; ++part) {
          const Moments &m = partials.all[part * partials.columns + block];
          sum += m.sum[lane], product += m.squares[lane];
        }
        const double root = norm.root[channel];
        dbeta[channel] = static_cast<float>(sum);
        dgamma[channel] = static_cast<float>(product * root);
        first[channel] = static_cast<float>(sum / count);
        second[channel] = static_cast<float>(product * root * root / count);
      }
  }
};

struct BackwardLine {
  Vec mean, slope, first, second;

  BackwardLine(const Norm &norm, const Backward &sums, int64_t block) {
    const Line line(norm, block);
    mean = line.mean, slope = line.slope;
    first = load(sums.first.data() + block * kLanes);
    second = load(sums.second.data() + block * kLanes);
  }

  Vec operator()(Vec dz, Vec x) const {
    return (dz - first - (x - mean) * second) * slope;
  }
};

} // namespace blocks
