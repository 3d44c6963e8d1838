#pragma once

#include <cstddef>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "folder.h"
#include "preprocess.h"

namespace effnet {

struct Batch {
    /// The first image's place in the folder.
    std::size_t first = 0;
    /// (N, 3, H, W); zeros for an unreadable image, and past the last one.
    std::vector<float> images;
    /// Of each image of the folder in this batch: empty, or why it cannot be read.
    std::vector<std::string> unreadable;
};

/// A folder's images in order, decoded by threads while the batch before is computed.
class Batches {
  public:
    Batches(const Folder& folder, const Preprocessing& preprocessing, std::size_t size,
            std::size_t threads);

    /// Nothing after the last one. All have the same size.
    std::optional<Batch> next();

  private:
    void start();
    Batch read(std::size_t first) const;

    const Folder& folder_;
    const Preprocessing preprocessing_;
    const std::size_t size_;
    const std::size_t threads_;
    std::size_t at_ = 0;
    std::future<Batch> ahead_;
};

}  // namespace effnet
