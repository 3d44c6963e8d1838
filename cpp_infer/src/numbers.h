#pragma once

#include <string>

namespace effnet {

/// As Python prints a float: the fewest digits that say it.
std::string shortest(double value);

}  // namespace effnet
