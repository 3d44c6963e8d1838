#pragma once

#include <string>
#include <vector>

#include "arguments.h"
#include "folder.h"
#include "score.h"

namespace effnet {

struct Speed {
    /// In the network, decoding left out.
    double ms_per_image = 0.0;
    /// Decoding included.
    double images_per_s = 0.0;
};

/// Prints the answer: lines, or one JSON object and the lines on standard error.
void report(const Arguments& arguments, const Folder& folder, const Score& score,
            const std::vector<std::string>& names, const Speed& speed,
            const std::string& predictions_path);

}  // namespace effnet
