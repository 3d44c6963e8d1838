#include "file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>

#include "failure.h"

namespace effnet {
namespace {

namespace fs = std::filesystem;

struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Close>;

std::system_error system_error() {
    return {errno, std::generic_category()};
}

void write_whole(const std::string& path, std::string_view content) {
    File file(std::fopen(path.c_str(), "wb"));
    if (!file) throw system_error();
    if (std::fwrite(content.data(), 1, content.size(), file.get()) != content.size()) {
        throw system_error();
    }
    if (std::fclose(file.release()) != 0) throw system_error();
}

}  // namespace

std::vector<std::uint8_t> read_file(const std::string& path) {
    const File file(std::fopen(path.c_str(), "rb"));
    if (!file) throw system_error();
    std::vector<std::uint8_t> content;
    std::vector<std::uint8_t> part(1 << 16);
    while (const std::size_t got = std::fread(part.data(), 1, part.size(), file.get())) {
        content.insert(content.end(), part.begin(),
                       part.begin() + static_cast<std::ptrdiff_t>(got));
    }
    if (std::ferror(file.get())) throw system_error();
    return content;
}

void write_file(const std::string& path, std::string_view content) {
    const fs::path target(path);
    const std::string aside = path + "." + std::to_string(getpid());
    try {
        if (target.has_parent_path()) fs::create_directories(target.parent_path());
        write_whole(aside, content);
        fs::rename(aside, target);
    } catch (const std::system_error& error) {
        std::error_code ignored;
        fs::remove(aside, ignored);
        throw Failure(ExitCode::kOther, path + ": cannot be written: " + error.code().message());
    }
}

}  // namespace effnet
