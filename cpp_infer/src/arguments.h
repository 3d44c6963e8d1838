#pragma once

#include <string>

namespace effnet {

/// What the command line asks for.
struct Arguments {
    std::string model;
    std::string data;
    /// `CPU`, `GPU` or `Ascend`.
    std::string device = "CPU";
    int device_id = 0;
    /// Images at once; 0: the file's own, or `kFreeBatch` where that is free.
    int batch_size = 0;
    /// Threads that decode, and that compute on a CPU; 0: all cores.
    int threads = 0;
    /// The folder for results.
    std::string output = ".";
    bool json = false;
    bool help = false;
};

extern const char* const kHelp;

/// Throws `Failure` that names the argument.
Arguments parse_arguments(int argc, const char* const* argv);

}  // namespace effnet
