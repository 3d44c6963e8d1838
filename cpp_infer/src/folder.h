#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace effnet {

struct Entry {
    /// Below `Folder::root`.
    std::string name;
    /// Place in `Folder::classes`; 0 for images of no known class.
    std::size_t label = 0;
};

/// The images to infer, sorted by class and then by name.
struct Folder {
    std::string root;
    /// Empty for a folder of images of no known class.
    std::vector<std::string> classes;
    std::vector<Entry> images;

    std::string path(std::size_t i) const { return root + "/" + images[i].name; }
};

/// Class folders (or `train/` and `val/`, of which `val/` is taken), or images alone: as
/// `python -m effnet infer` finds them. Throws `Failure`.
Folder find_images(const std::string& root);

/// Throws `Failure` that names what only one of the two has. `names` is empty where the model does
/// not say them; then only their number is compared.
void require_classes(const Folder& folder, const std::vector<std::string>& names, std::size_t count,
                     const std::string& model);

}  // namespace effnet
