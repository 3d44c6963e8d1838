#include "decode.h"

#include <cstdint>
#include <string_view>
#include <system_error>
#include <vector>

#include "failure.h"
#include "file.h"
#include "jpeg_file.h"
#include "png_file.h"

namespace effnet {
namespace {

struct Format {
    std::string_view start;
    std::string_view name;
};

// What `effnet eval` reads and this program does not.
constexpr Format kOthers[] = {
    {"BM", "BMP"},   {"RIFF", "WebP"},       {"P6", "PPM"},
    {"GIF8", "GIF"}, {{"II*\0", 4}, "TIFF"}, {{"MM\0*", 4}, "TIFF"},
};

bool starts_with(const std::vector<std::uint8_t>& bytes, std::string_view start) {
    const std::string_view found(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return found.substr(0, start.size()) == start;
}

}  // namespace

Image decode(const std::string& path) {
    std::vector<std::uint8_t> bytes;
    try {
        bytes = read_file(path);
    } catch (const std::system_error& error) {
        throw UnreadableImage(error.code().message());
    }
    if (starts_with(bytes, "\xff\xd8\xff")) return decode_jpeg(bytes);
    if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) return decode_png(bytes);
    for (const Format& other : kOthers) {
        if (starts_with(bytes, other.start)) {
            throw UnreadableImage("a " + std::string(other.name) +
                                  " file; only JPEG and PNG are read here");
        }
    }
    throw UnreadableImage("not an image that can be read");
}

}  // namespace effnet
