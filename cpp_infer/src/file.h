#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace effnet {

/// The whole file; throws `std::system_error` with the system's reason.
std::vector<std::uint8_t> read_file(const std::string& path);

/// Writes beside `path` and renames, so that there is never half a file; makes missing folders.
/// Throws `Failure`.
void write_file(const std::string& path, std::string_view content);

}  // namespace effnet
