// effnet-infer: a MindIR file over a folder of images, with MindSpore Lite
// (docs/how-to/cpp-inference.md).

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "arguments.h"
#include "batches.h"
#include "failure.h"
#include "folder.h"
#include "network.h"
#include "record.h"
#include "report.h"
#include "results.h"
#include "score.h"

namespace effnet {
namespace {

using Clock = std::chrono::steady_clock;

/// Where the file leaves the batch free.
constexpr int kFreeBatch = 8;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

std::optional<Record> find_record(const std::string& model) {
    const std::string path = model + ".json";
    std::optional<Record> found = read_record(path);
    if (!found) {
        std::fprintf(stderr,
                     "note: there is no %s; using the reference's preprocessing (bilinear,"
                     " 280/260, [-1, 1])\n",
                     path.c_str());
        return std::nullopt;
    }
    std::error_code unreadable;
    const auto bytes = std::filesystem::file_size(model, unreadable);
    if (!unreadable && found->bytes && *found->bytes != bytes) {
        throw Failure(ExitCode::kOther,
                      path + " is of another file: it expects " + std::to_string(*found->bytes) +
                          " bytes, and " + model + " has " + std::to_string(bytes),
                      "keep the two files that `python -m effnet export` wrote together");
    }
    return found;
}

/// The record's; for a file without one, the reference's at the size of the file.
Preprocessing preprocessing_for(const Network& network, const std::optional<Record>& record,
                                const std::string& model) {
    Preprocessing made = record ? record->preprocessing : Preprocessing();
    const int width = network.width_px().value_or(made.width_px);
    const int height = network.height_px().value_or(made.height_px);
    if (width == made.width_px && height == made.height_px) return made;
    if (record) {
        throw Failure(ExitCode::kOther,
                      model + " takes " + std::to_string(width) + " x " + std::to_string(height) +
                          " px, and " + model + ".json expects " + std::to_string(made.width_px) +
                          " x " + std::to_string(made.height_px),
                      "export the checkpoint again");
    }
    const double share = static_cast<double>(made.resize_px) / made.width_px;
    made.resize_px = static_cast<int>(std::lround(std::max(width, height) * share));
    made.width_px = width;
    made.height_px = height;
    return made;
}

std::vector<std::string> names_for(const Network& network, const std::optional<Record>& record,
                                   const std::string& model) {
    if (!record || !record->class_names) return {};
    if (record->class_names->size() != network.classes()) {
        throw Failure(ExitCode::kOther,
                      model + ".json names " + std::to_string(record->class_names->size()) +
                          " classes, and the network has " + std::to_string(network.classes()),
                      "export the checkpoint again");
    }
    return *record->class_names;
}

void show_progress(std::size_t done, std::size_t all) {
    if (isatty(STDERR_FILENO) == 0) return;
    std::fprintf(stderr, "\rinfer %zu/%zu%s", done, all, done == all ? "\n" : "");
}

void infer(const Arguments& arguments) {
    const Folder folder = find_images(arguments.data);
    const unsigned cores = std::max(std::thread::hardware_concurrency(), 1U);
    const int threads = arguments.threads > 0 ? arguments.threads : static_cast<int>(cores);
    const std::optional<Record> record = find_record(arguments.model);
    Network network(arguments.model, {arguments.device, arguments.device_id, threads});
    const Preprocessing preprocessing = preprocessing_for(network, record, arguments.model);
    int batch_size =
        arguments.batch_size > 0 ? arguments.batch_size : network.batch().value_or(kFreeBatch);
    if (!network.batch() && folder.images.size() < static_cast<std::size_t>(batch_size)) {
        batch_size = static_cast<int>(folder.images.size());
    }
    network.prepare(batch_size, preprocessing.height_px, preprocessing.width_px);
    const std::vector<std::string> names = names_for(network, record, arguments.model);
    if (!folder.classes.empty()) {
        require_classes(folder, names, network.classes(), arguments.model);
    }

    Score score(folder);
    Results results(arguments.output, folder);
    double network_s = 0.0;
    const Clock::time_point start = Clock::now();
    Batches batches(folder, preprocessing, static_cast<std::size_t>(batch_size),
                    static_cast<std::size_t>(threads));
    while (const std::optional<Batch> batch = batches.next()) {
        const Clock::time_point before = Clock::now();
        const std::vector<float> logits = network.compute(batch->images);
        network_s += seconds_since(before);
        score.add(*batch, logits, network.classes());
        results.add(*batch, logits, network.classes());
        show_progress(score.predictions().size(), folder.images.size());
    }
    if (score.read() == 0) {
        throw Failure(ExitCode::kData,
                      "all " + std::to_string(folder.images.size()) + " images in " + folder.root +
                          " are unreadable; the first: " + score.predictions().front().unreadable);
    }
    const auto images = static_cast<double>(score.read());
    const Speed speed{network_s * 1e3 / images, images / seconds_since(start)};
    results.finish(score, names, speed.ms_per_image);
    report(arguments, folder, score, names, speed, results.predictions_path());
}

}  // namespace
}  // namespace effnet

int main(int argc, char** argv) {
    try {
        const effnet::Arguments arguments = effnet::parse_arguments(argc, argv);
        if (arguments.help) {
            std::fputs(effnet::kHelp, stdout);
        } else {
            effnet::infer(arguments);
        }
    } catch (const effnet::Failure& failure) {
        std::fprintf(stderr, "%s\n", failure.text().c_str());
        return static_cast<int>(failure.code());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return static_cast<int>(effnet::ExitCode::kOther);
    }
    return 0;
}
