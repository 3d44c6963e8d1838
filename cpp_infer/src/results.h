#pragma once

#include <set>
#include <string>
#include <vector>

#include "batches.h"
#include "folder.h"
#include "score.h"

namespace effnet {

/// The files of the reference's C++ inference, below one folder:
///
///     result_Files/CLASS/IMAGE_0.bin      an image's logits, float32
///     result_Files/predictions.csv        a row for each image, as `effnet infer --predictions`
///     time_Result/test_perform_static.txt
///     acc.log                             with class folders
class Results {
  public:
    Results(std::string output, const Folder& folder);

    /// The logits of each image that could be read; throws `Failure`.
    void add(const Batch& batch, const std::vector<float>& logits, std::size_t classes);

    /// `names` of the classes in the order of the logits, or none; `ms_per_image` in the network.
    /// Throws `Failure`.
    void finish(const Score& score, const std::vector<std::string>& names, double ms_per_image);

    std::string predictions_path() const { return output_ + "/result_Files/predictions.csv"; }

  private:
    const std::string output_;
    const Folder& folder_;
    std::set<std::string> taken_;
};

/// A class's name, or its number where the model has no names.
std::string class_name(const std::vector<std::string>& names, std::size_t label);

}  // namespace effnet
