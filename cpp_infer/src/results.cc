#include "results.h"

#include <cstdio>
#include <string_view>
#include <utility>

#include "file.h"
#include "numbers.h"

namespace effnet {
namespace {

std::string quoted(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
    std::string out = "\"";
    for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
    return out + "\"";
}

std::string fixed(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.6f", value);
    return text;
}

}  // namespace

std::string class_name(const std::vector<std::string>& names, std::size_t label) {
    return names.empty() ? std::to_string(label) : names[label];
}

Results::Results(std::string output, const Folder& folder)
    : output_(std::move(output)), folder_(folder) {}

void Results::add(const Batch& batch, const std::vector<float>& logits, std::size_t classes) {
    for (std::size_t i = 0; i < batch.unreadable.size(); ++i) {
        if (!batch.unreadable[i].empty()) continue;
        const std::string& name = folder_.images[batch.first + i].name;
        std::string stem = name.substr(0, name.rfind('.'));
        // a.png beside a.jpg keeps its ending.
        if (!taken_.insert(stem).second) stem = name;
        const auto* bytes = reinterpret_cast<const char*>(logits.data() + i * classes);
        write_file(output_ + "/result_Files/" + stem + "_0.bin", {bytes, classes * sizeof(float)});
    }
}

void Results::finish(const Score& score, const std::vector<std::string>& names,
                     double ms_per_image) {
    std::string table = "image,label,predicted,probability,unreadable\r\n";
    for (std::size_t i = 0; i < score.predictions().size(); ++i) {
        const Prediction& found = score.predictions()[i];
        const Entry& image = folder_.images[i];
        const bool read = found.unreadable.empty();
        table += quoted(image.name) + ",";
        table += (folder_.classes.empty() ? "" : quoted(folder_.classes[image.label])) + ",";
        table += (read ? quoted(class_name(names, found.predicted)) : "") + ",";
        table += (read ? fixed(found.probability) : "") + "," + quoted(found.unreadable) + "\r\n";
    }
    write_file(predictions_path(), table);
    // The reference's lines, character for character.
    const std::string count = std::to_string(score.read());
    write_file(output_ + "/time_Result/test_perform_static.txt",
               "NN inference cost average time: " + shortest(ms_per_image) + " ms of infer_count " +
                   count + "\n");
    if (folder_.classes.empty()) return;
    write_file(output_ + "/acc.log", "Total data: " + count +
                                         ", top1 accuracy: " + shortest(score.top_1()) +
                                         ", top5 accuracy: " + shortest(score.top_5()) + ".\n");
}

}  // namespace effnet
