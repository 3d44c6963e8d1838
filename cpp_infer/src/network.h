#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mindspore {
class Model;
}

namespace effnet {

struct Device {
    /// `CPU`, `GPU` or `Ascend`.
    std::string type;
    int id = 0;
    /// That compute on a CPU.
    int threads = 1;
};

/// A MindIR file in MindSpore Lite: images (N, 3, H, W) in, logits (N, classes) out.
class Network {
  public:
    /// Throws `Failure`: a device that Lite lacks is never replaced by another one.
    Network(std::string path, const Device& device);
    ~Network();
    Network(const Network&) = delete;
    Network& operator=(const Network&) = delete;

    /// What the file fixes; nothing for what it leaves free.
    std::optional<int> batch() const { return side(0); }
    std::optional<int> height_px() const { return side(2); }
    std::optional<int> width_px() const { return side(3); }

    /// Sets the input shape and predicts zeros once: the first prediction is slow, and its output
    /// has the number of classes. Throws `Failure`.
    void prepare(int batch, int height_px, int width_px);
    std::size_t classes() const { return classes_; }

    /// Logits, a row of `classes()` for each image of `images`, which are the batch of `prepare`.
    std::vector<float> compute(const std::vector<float>& images);

  private:
    std::optional<int> side(std::size_t at) const;
    [[noreturn]] void fail(const std::string& what, const std::string& reason,
                           const std::string& hint) const;

    std::string path_;
    std::unique_ptr<mindspore::Model> model_;
    std::vector<std::int64_t> shape_;
    std::size_t classes_ = 0;
};

}  // namespace effnet
