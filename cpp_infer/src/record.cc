#include "record.h"

#include <stdexcept>
#include <string_view>
#include <system_error>

#include "failure.h"
#include "file.h"
#include "json.h"

namespace effnet {
namespace {

constexpr double kLargestSide = 1 << 20;

const Json& member(const Json& json, const std::string& name) {
    const Json* found = json.find(name);
    if (found == nullptr) throw std::invalid_argument("it has no " + name);
    return *found;
}

int side(const Json& json, const std::string& name) {
    const double value = member(json, name).number();
    if (value < 1 || value > kLargestSide || value != static_cast<int>(value)) {
        throw std::invalid_argument(name + " is not a number of pixels");
    }
    return static_cast<int>(value);
}

std::array<double, 3> channels(const Json& json, const std::string& name) {
    const Json::List& list = member(json, name).list();
    if (list.size() != 3) throw std::invalid_argument(name + " is not one number a channel");
    return {list[0].number(), list[1].number(), list[2].number()};
}

Interpolation interpolation(const Json& json) {
    const std::string& name = member(json, "interpolation").text();
    if (name == "bilinear") return Interpolation::kBilinear;
    if (name == "bicubic") return Interpolation::kBicubic;
    throw std::invalid_argument("interpolation is " + name + ", not bilinear or bicubic");
}

Record record(const Json& json) {
    Record found;
    const Json& made = member(json, "preprocessing");
    found.preprocessing = {side(made, "resize_px"), side(made, "width_px"), side(made, "height_px"),
                           interpolation(made),     channels(made, "mean"), channels(made, "std")};
    if (const Json* names = json.find("class_names")) {
        found.class_names.emplace();
        for (const Json& name : names->list()) found.class_names->push_back(name.text());
    }
    if (const Json* bytes = json.find("bytes")) {
        found.bytes = static_cast<std::uint64_t>(bytes->number());
    }
    return found;
}

}  // namespace

std::optional<Record> read_record(const std::string& path) {
    try {
        const std::vector<std::uint8_t> bytes = read_file(path);
        return record(Json::parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
    } catch (const std::system_error& error) {
        if (error.code() == std::errc::no_such_file_or_directory) return std::nullopt;
        throw Failure(ExitCode::kOther, path + ": " + error.code().message());
    } catch (const std::invalid_argument& error) {
        throw Failure(ExitCode::kOther,
                      path + " is not a record of `python -m effnet export`: " + error.what(),
                      "export the checkpoint again");
    }
}

}  // namespace effnet
