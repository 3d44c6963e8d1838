#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "preprocess.h"

namespace effnet {

/// The content of NAME.mindir.json, which `python -m effnet export` writes beside NAME.mindir.
struct Record {
    Preprocessing preprocessing;
    /// In the order of the logits.
    std::optional<std::vector<std::string>> class_names;
    std::optional<std::uint64_t> bytes;
};

/// Nothing where there is no such file; throws `Failure` for one that is no record.
std::optional<Record> read_record(const std::string& path);

}  // namespace effnet
