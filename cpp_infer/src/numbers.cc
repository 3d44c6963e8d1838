#include "numbers.h"

#include <cstdio>

namespace effnet {

std::string shortest(double value) {
    char text[40];
    for (int digits = 1; digits <= 17; ++digits) {
        std::snprintf(text, sizeof text, "%.*g", digits, value);
        double back = 0.0;
        if (std::sscanf(text, "%lf", &back) == 1 && back == value) break;
    }
    const std::string found = text;
    return found.find_first_of(".e") == std::string::npos ? found + ".0" : found;
}

}  // namespace effnet
