// From decoded pixels to the array that a network is given, in one call.

#include "resize.h"
#include "steps.h"

namespace input {
namespace {

/// In the order of `CODES` in effnet/kernels/input.py.
enum Code {
  kFlip,
  kPosterize,
  kSolarizeBetween,
  kSolarizeAdd,
  kInvert,
  kAutocontrast,
  kEqualize,
  kBrightness,
  kContrast,
  kSaturation,
  kSharpness,
  kAffine,
  kCodes,
};

constexpr int kNumbers[kCodes] = {0, 1, 2, 1, 0, 0, 0, 1, 1, 1, 1, 8};

void take(Code code, const double *numbers, Picture &picture) {
  const auto whole = [=](int i) { return static_cast<int>(numbers[i]); };
  const auto factor = [=] { return static_cast<float>(numbers[0]); };
  switch (code) {
  case kFlip:
    return flip(picture);
  case kPosterize:
    return posterize(picture, whole(0));
  case kSolarizeBetween:
    return solarize_between(picture, whole(0), whole(1));
  case kSolarizeAdd:
    return solarize_add(picture, whole(0));
  case kInvert:
    return invert(picture);
  case kAutocontrast:
    return autocontrast(picture);
  case kEqualize:
    return equalize(picture);
  case kBrightness:
    return brightness(picture, factor());
  case kContrast:
    return contrast(picture, factor());
  case kSaturation:
    return saturation(picture, factor());
  case kSharpness:
    return sharpness(picture, factor());
  case kAffine:
    return affine(picture, numbers, static_cast<Resample>(whole(6)),
                  static_cast<std::uint32_t>(numbers[7]));
  case kCodes:
    return;
  }
}

void normalise(const Picture &picture, const float *scale, const float *shift,
               float *out) {
  const std::size_t size = picture.size();
  const std::uint32_t *pixels = picture.pixels.data();
  for (int c = 0; c < 3; ++c, out += size) {
    for (std::size_t i = 0; i < size; ++i) {
      out[i] = static_cast<float>(static_cast<int>(channel(pixels[i], c))) *
                   scale[c] +
               shift[c];
    }
  }
}

} // namespace
} // namespace input

/// `geometry`: the box, whether bicubic, whether columns first, and `Target`,
/// 12 numbers. `steps`: codes, each with its numbers. `out`: (3, height, width)
/// of the target. 1 where `steps` cannot be read.
extern "C" int prepare(const void *pixels, int width, int height,
                       const double *geometry, const double *steps, int count,
                       const float *scale, const float *shift, float *out) {
  using namespace input;
  thread_local Picture picture;
  const View from{width, height, static_cast<const std::uint32_t *>(pixels)};
  const auto part = [=](int i) { return static_cast<float>(geometry[i]); };
  const auto whole = [=](int i) { return static_cast<int>(geometry[i]); };
  const Box box{part(0), part(1), part(2), part(3)};
  const Target target{whole(6), whole(7),  whole(8),
                      whole(9), whole(10), whole(11)};
  resize(from, box, geometry[4] != 0.0, geometry[5] != 0.0, target, picture);
  for (int at = 0; at < count;) {
    const int code = static_cast<int>(steps[at++]);
    if (code < 0 || code >= kCodes || at + kNumbers[code] > count)
      return 1;
    take(static_cast<Code>(code), steps + at, picture);
    at += kNumbers[code];
  }
  normalise(picture, scale, shift, out);
  return 0;
}
