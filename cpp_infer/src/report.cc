#include "report.h"

#include <cstdio>

#include "numbers.h"
#include "results.h"

namespace effnet {
namespace {

constexpr std::size_t kMostListed = 5;

std::string json(const std::string& text) {
    std::string out = "\"";
    for (const char c : text) {
        char escape[8];
        if (c == '"' || c == '\\') {
            out += {'\\', c};
        } else if (static_cast<unsigned char>(c) < 0x20) {
            std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
            out += escape;
        } else {
            out += c;
        }
    }
    return out + "\"";
}

void list_predictions(std::FILE* out, const Folder& folder, const Score& score,
                      const std::vector<std::string>& names) {
    for (std::size_t i = 0; i < folder.images.size(); ++i) {
        const Prediction& found = score.predictions()[i];
        const char* image = folder.images[i].name.c_str();
        if (found.unreadable.empty()) {
            std::fprintf(out, "%s: %s (%.6f)\n", image, class_name(names, found.predicted).c_str(),
                         found.probability);
        } else {
            std::fprintf(out, "%s: %s\n", image, found.unreadable.c_str());
        }
    }
}

void list_unreadable(std::FILE* out, const Folder& folder, const Score& score) {
    const std::size_t count = score.unreadable();
    if (count == 0) return;
    std::fprintf(out, "%zu unreadable image%s:\n", count, count > 1 ? "s" : "");
    std::size_t listed = 0;
    for (std::size_t i = 0; i < folder.images.size() && listed < kMostListed; ++i) {
        const std::string& reason = score.predictions()[i].unreadable;
        if (reason.empty()) continue;
        std::fprintf(out, "  %s: %s\n", folder.path(i).c_str(), reason.c_str());
        ++listed;
    }
    if (count > listed) std::fprintf(out, "  and %zu more\n", count - listed);
}

}  // namespace

void report(const Arguments& arguments, const Folder& folder, const Score& score,
            const std::vector<std::string>& names, const Speed& speed,
            const std::string& predictions_path) {
    std::FILE* out = arguments.json ? stderr : stdout;
    const bool has_classes = !folder.classes.empty();
    if (!has_classes) list_predictions(out, folder, score, names);
    list_unreadable(out, folder, score);
    if (has_classes) {
        std::fprintf(out, "top-1 accuracy: %.5f\n", score.top_1());
        std::fprintf(out, "top-5 accuracy: %.5f\n", score.top_5());
    }
    std::fprintf(out, "images: %zu, ms/image: %.3f in the network, images/s: %.1f, %s\n",
                 score.read(), speed.ms_per_image, speed.images_per_s, arguments.device.c_str());
    if (!arguments.json) return;
    std::printf("{");
    if (has_classes) {
        std::printf("\"top_1_acc\": %s, \"top_5_acc\": %s, ", shortest(score.top_1()).c_str(),
                    shortest(score.top_5()).c_str());
    }
    std::printf("\"images\": %zu, \"unreadable\": %zu, \"ms_per_image\": %.6g, ", score.read(),
                score.unreadable(), speed.ms_per_image);
    std::printf("\"images_per_s\": %.6g, \"mindir\": %s, \"device\": %s, \"predictions\": %s}\n",
                speed.images_per_s, json(arguments.model).c_str(), json(arguments.device).c_str(),
                json(predictions_path).c_str());
}

}  // namespace effnet
