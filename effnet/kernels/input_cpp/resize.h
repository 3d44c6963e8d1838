#pragma once

#include "picture.h"

namespace input {

struct Box {
  float left, top, right, bottom;
};

/// The part `width` x `height` at (left, top) of what `box` becomes at
/// `full_width` x `full_height`.
struct Target {
  int full_width, full_height;
  int left, top, width, height;
};

/// Pillow's Image.resize, bit for bit: antialiased, in fixed point, in two
/// passes with 8 bits between them.
void resize(const View &from, const Box &box, bool is_cubic, bool columns_first,
            const Target &target, Picture &to);

} // namespace input
