// effnet-preprocess NAME.mindir.json OUT.bin IMAGE...
//
// Writes to OUT.bin what the network would be fed, float32 (3, H, W) of each image one after the
// other, and prints a line for each image: `ok`, or why it cannot be read. Such an image is zeros.

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "decode.h"
#include "failure.h"
#include "file.h"
#include "preprocess.h"
#include "record.h"

namespace {

void run(const std::string& record_path, const std::string& out_path,
         const std::vector<std::string>& images) {
    const auto record = effnet::read_record(record_path);
    if (!record) throw effnet::Failure(effnet::ExitCode::kOther, record_path + ": no such file");
    const std::size_t values = record->preprocessing.values();
    std::vector<float> all(values * images.size());
    for (std::size_t i = 0; i < images.size(); ++i) {
        try {
            const effnet::Image image = effnet::decode(images[i]);
            effnet::preprocess(image, record->preprocessing, all.data() + i * values);
            std::puts("ok");
        } catch (const effnet::UnreadableImage& error) {
            std::puts(error.what());
        }
    }
    effnet::write_file(out_path, {reinterpret_cast<const char*>(all.data()), all.size() * 4});
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        std::fputs("usage: effnet-preprocess NAME.mindir.json OUT.bin IMAGE...\n", stderr);
        return static_cast<int>(effnet::ExitCode::kUsage);
    }
    try {
        run(argv[1], argv[2], {argv + 3, argv + argc});
    } catch (const effnet::Failure& failure) {
        std::fprintf(stderr, "%s\n", failure.text().c_str());
        return static_cast<int>(failure.code());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return static_cast<int>(effnet::ExitCode::kOther);
    }
    return 0;
}
