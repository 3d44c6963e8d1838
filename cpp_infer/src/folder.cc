#include "folder.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "failure.h"

namespace effnet {
namespace {

namespace fs = std::filesystem;

// Those of effnet/data/folders.py, so that an image is counted here if it is counted there.
constexpr std::string_view kExtensions[] = {".jpg", ".jpeg", ".png", ".bmp", ".webp",
                                            ".ppm", ".gif",  ".tif", ".tiff"};
constexpr const char* kExtensionsHint =
    "images end in .jpg .jpeg .png .bmp .webp .ppm .gif .tif .tiff, in any case";
constexpr std::size_t kMostNamed = 10;

bool is_image(std::string name) {
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return std::any_of(std::begin(kExtensions), std::end(kExtensions), [&](std::string_view end) {
        return name.size() >= end.size() && name.substr(name.size() - end.size()) == end;
    });
}

/// What is in a folder, hidden names left out, in the order of their bytes.
std::vector<fs::directory_entry> entries(const fs::path& folder) {
    std::vector<fs::directory_entry> found;
    try {
        for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
            if (entry.path().filename().string().front() != '.') found.push_back(entry);
        }
    } catch (const fs::filesystem_error& error) {
        throw Failure(ExitCode::kData,
                      "cannot read the folder " + folder.string() + ": " + error.code().message());
    }
    std::sort(found.begin(), found.end());
    return found;
}

bool is_folder(const fs::directory_entry& entry) {
    std::error_code unreadable;
    return entry.is_directory(unreadable);
}

bool has_folders(const fs::path& folder) {
    const auto found = entries(folder);
    return std::any_of(found.begin(), found.end(), is_folder);
}

/// `root/val` where `root` holds splits, else `root`.
fs::path choose_split(const fs::path& root) {
    if (!fs::is_directory(root)) {
        throw Failure(ExitCode::kData,
                      "the data folder " + root.string() +
                          (fs::exists(root) ? " is not a folder" : " does not exist"));
    }
    const auto is_split = [&](const char* name) {
        return fs::is_directory(root / name) && has_folders(root / name);
    };
    if (is_split("val")) return root / "val";
    if (is_split("train")) {
        throw Failure(ExitCode::kData,
                      root.string() + " has no folder 'val', though it has 'train'");
    }
    return root;
}

/// Names below `folder`, `below` in front, of the images in it and in its folders. Links to folders
/// are not followed: they can lead in circles.
void add_images(const fs::path& folder, const std::string& below, std::vector<std::string>& names) {
    for (const fs::directory_entry& entry : entries(folder)) {
        const std::string name = entry.path().filename().string();
        if (is_image(name)) {
            names.push_back(below + name);
        } else if (is_folder(entry) && !entry.is_symlink()) {
            add_images(entry.path(), below + name + "/", names);
        }
    }
}

std::string some(const std::vector<std::string>& names) {
    if (names.empty()) return "none";
    std::string out;
    for (std::size_t i = 0; i < std::min(names.size(), kMostNamed); ++i) {
        out += (i == 0 ? "" : ", ") + names[i];
    }
    const std::size_t more = names.size() - std::min(names.size(), kMostNamed);
    return more == 0 ? out : out + " and " + std::to_string(more) + " more";
}

std::vector<std::string> missing(const std::vector<std::string>& from,
                                 const std::vector<std::string>& wanted) {
    std::vector<std::string> found;
    for (const std::string& name : wanted) {
        if (std::find(from.begin(), from.end(), name) == from.end()) found.push_back(name);
    }
    return found;
}

}  // namespace

Folder find_images(const std::string& root) {
    Folder folder;
    folder.root = choose_split(root).string();
    std::vector<std::string> plain;
    for (const fs::directory_entry& entry : entries(folder.root)) {
        const std::string name = entry.path().filename().string();
        if (is_folder(entry)) folder.classes.push_back(name);
        if (is_image(name)) plain.push_back(name);
    }
    if (folder.classes.empty()) {
        for (const std::string& name : plain) folder.images.push_back({name, 0});
        if (plain.empty()) {
            throw Failure(ExitCode::kData, folder.root + " has no images", kExtensionsHint);
        }
        return folder;
    }
    if (!plain.empty()) {
        throw Failure(ExitCode::kData,
                      folder.root + " has both class folders and images beside them, such as " +
                          plain.front(),
                      "images of no known class belong in a folder without folders");
    }
    std::vector<std::string> empty;
    for (std::size_t label = 0; label < folder.classes.size(); ++label) {
        const std::string& name = folder.classes[label];
        std::vector<std::string> names;
        add_images(fs::path(folder.root) / name, name + "/", names);
        std::sort(names.begin(), names.end());
        if (names.empty()) empty.push_back(name);
        for (std::string& image : names) folder.images.push_back({std::move(image), label});
    }
    if (!empty.empty()) {
        throw Failure(ExitCode::kData,
                      std::to_string(empty.size()) + " of " +
                          std::to_string(folder.classes.size()) + " classes in " + folder.root +
                          " have no images: " + some(empty),
                      kExtensionsHint);
    }
    return folder;
}

void require_classes(const Folder& folder, const std::vector<std::string>& names, std::size_t count,
                     const std::string& model) {
    const std::string both = "the classes of " + model + " (" + std::to_string(count) + ") and " +
                             folder.root + " (" + std::to_string(folder.classes.size()) +
                             ") differ, so labels would not mean the same";
    if (names.empty()) {
        if (folder.classes.size() != count) throw Failure(ExitCode::kData, both);
        return;
    }
    if (names == folder.classes) return;
    const std::vector<std::string> only_model = missing(folder.classes, names);
    const std::vector<std::string> only_folder = missing(names, folder.classes);
    if (only_model.empty() && only_folder.empty()) {
        throw Failure(ExitCode::kData,
                      model + " has the classes of " + folder.root + " in another order");
    }
    throw Failure(ExitCode::kData, both + "\n  only in " + model + ": " + some(only_model) +
                                       "\n  only in " + folder.root + ": " + some(only_folder));
}

}  // namespace effnet
