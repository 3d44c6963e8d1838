#include "arguments.h"

#include <charconv>
#include <string_view>

#include "failure.h"

namespace effnet {

const char* const kHelp =
    R"(usage: effnet-infer --model NAME.mindir --data DIR [options]

A MindIR file over a folder of images, with MindSpore Lite.

If DIR holds class folders (or train/ and val/; then val/ is used), the program prints the accuracy.
DIR can also hold images only. It reads JPEG and PNG. NAME.mindir.json, which `python -m effnet
export` writes next to NAME.mindir, has the preprocessing.

options:
  --device CPU|GPU|Ascend   device (default: CPU); there is no fallback to another one
  --device-id N             number of the GPU or Ascend device (default: 0)
  --batch-size N            images at once (default: the file's batch, or 8 if it has none)
  --threads N               threads for decoding and for a CPU (default: all cores)
  --output DIR              folder for result_Files/, time_Result/ and acc.log (default: .)
  --json                    print one JSON object
  --help                    print this text

exit codes: 1 other, 2 usage, 3 data, 6 device

example:
  effnet-infer --model b2.mindir --data data/digits --batch-size 16
)";

namespace {

[[noreturn]] void fail(const std::string& message) {
    throw Failure(ExitCode::kUsage, message, "effnet-infer --help");
}

int number(const std::string& name, const std::string& text, int least) {
    int value = 0;
    const char* end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, value);
    if (result.ec != std::errc() || result.ptr != end) fail(name + " " + text + " is not a number");
    if (value < least) {
        fail(name + " is " + text + ", must be at least " + std::to_string(least));
    }
    return value;
}

}  // namespace

Arguments parse_arguments(int argc, const char* const* argv) {
    Arguments found;
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        const auto value = [&]() -> std::string {
            if (i + 1 >= argc) fail(name + " needs a value");
            return argv[++i];
        };
        if (name == "--model") {
            found.model = value();
        } else if (name == "--data") {
            found.data = value();
        } else if (name == "--device") {
            found.device = value();
        } else if (name == "--device-id") {
            found.device_id = number(name, value(), 0);
        } else if (name == "--batch-size") {
            found.batch_size = number(name, value(), 1);
        } else if (name == "--threads") {
            found.threads = number(name, value(), 1);
        } else if (name == "--output") {
            found.output = value();
        } else if (name == "--json") {
            found.json = true;
        } else if (name == "--help" || name == "-h") {
            found.help = true;
            return found;
        } else {
            fail("unknown argument " + name);
        }
    }
    if (found.model.empty()) fail("--model is missing");
    if (found.data.empty()) fail("--data is missing");
    if (found.device != "CPU" && found.device != "GPU" && found.device != "Ascend") {
        fail("unknown device " + found.device + "; CPU, GPU or Ascend");
    }
    return found;
}

}  // namespace effnet
