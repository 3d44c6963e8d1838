#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "batches.h"
#include "folder.h"

namespace effnet {

/// The result of the network for one image.
struct Prediction {
    std::size_t predicted = 0;
    /// Of `predicted`.
    double probability = 0.0;
    /// Why it could not be read, or empty.
    std::string unreadable;
};

/// Predictions, and how many of them are right. Unreadable images are in no count but their own.
class Score {
  public:
    explicit Score(const Folder& folder) : folder_(folder) {}

    /// `logits` are rows of `classes`, one for each image of the batch.
    void add(const Batch& batch, const std::vector<float>& logits, std::size_t classes);

    const std::vector<Prediction>& predictions() const { return predictions_; }
    std::size_t read() const { return read_; }
    std::size_t unreadable() const { return predictions_.size() - read_; }
    /// Of those that were read: the share whose class is the first, or among the first five. Ties
    /// go to the lower class.
    double top_1() const { return share(right_at_1_); }
    double top_5() const { return share(right_at_5_); }

  private:
    double share(std::size_t right) const {
        return static_cast<double>(right) / static_cast<double>(read_);
    }

    const Folder& folder_;
    std::vector<Prediction> predictions_;
    std::size_t read_ = 0;
    std::size_t right_at_1_ = 0;
    std::size_t right_at_5_ = 0;
};

}  // namespace effnet
