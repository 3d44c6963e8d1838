#include "batches.h"

#include <algorithm>
#include <atomic>

#include "decode.h"
#include "failure.h"

namespace effnet {

Batches::Batches(const Folder& folder, const Preprocessing& preprocessing, std::size_t size,
                 std::size_t threads)
    : folder_(folder), preprocessing_(preprocessing), size_(size), threads_(threads) {
    start();
}

std::optional<Batch> Batches::next() {
    if (!ahead_.valid()) return std::nullopt;
    Batch batch = ahead_.get();
    start();
    return batch;
}

void Batches::start() {
    if (at_ >= folder_.images.size()) return;
    ahead_ = std::async(std::launch::async, &Batches::read, this, at_);
    at_ += size_;
}

Batch Batches::read(std::size_t first) const {
    const std::size_t count = std::min(size_, folder_.images.size() - first);
    const std::size_t values = preprocessing_.values();
    Batch batch;
    batch.first = first;
    batch.images.resize(values * size_);
    batch.unreadable.resize(count);

    std::atomic<std::size_t> taken{0};
    const auto work = [&] {
        for (std::size_t i = taken++; i < count; i = taken++) {
            try {
                preprocess(decode(folder_.path(first + i)), preprocessing_,
                           batch.images.data() + i * values);
            } catch (const UnreadableImage& error) {
                batch.unreadable[i] = error.what();
            }
        }
    };
    // Waited for where they go out of scope; the first error of any is thrown here.
    std::vector<std::future<void>> others;
    for (std::size_t i = 1; i < std::min(threads_, count); ++i) {
        others.push_back(std::async(std::launch::async, work));
    }
    work();
    for (std::future<void>& other : others) other.get();
    return batch;
}

}  // namespace effnet
