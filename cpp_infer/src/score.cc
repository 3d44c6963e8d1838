#include "score.h"

#include <algorithm>
#include <cmath>

namespace effnet {
namespace {

/// Classes before `label`.
std::size_t place(const float* logits, std::size_t classes, std::size_t label) {
    std::size_t before = 0;
    for (std::size_t c = 0; c < classes; ++c) {
        before += logits[c] > logits[label] || (logits[c] == logits[label] && c < label);
    }
    return before;
}

Prediction first(const float* logits, std::size_t classes) {
    const float* best = std::max_element(logits, logits + classes);
    double sum = 0.0;
    for (std::size_t c = 0; c < classes; ++c)
        sum += std::exp(static_cast<double>(logits[c] - *best));
    return {static_cast<std::size_t>(best - logits), 1.0 / sum, ""};
}

}  // namespace

void Score::add(const Batch& batch, const std::vector<float>& logits, std::size_t classes) {
    for (std::size_t i = 0; i < batch.unreadable.size(); ++i) {
        if (!batch.unreadable[i].empty()) {
            predictions_.push_back({0, 0.0, batch.unreadable[i]});
            continue;
        }
        const float* own = logits.data() + i * classes;
        predictions_.push_back(first(own, classes));
        ++read_;
        if (folder_.classes.empty()) continue;
        const std::size_t found = place(own, classes, folder_.images[batch.first + i].label);
        right_at_1_ += found < 1;
        right_at_5_ += found < 5;
    }
}

}  // namespace effnet
