#include "failure.h"

#include <utility>

namespace effnet {

Failure::Failure(ExitCode code, const std::string& message, std::string hint)
    : std::runtime_error(message), code_(code), hint_(std::move(hint)) {}

std::string Failure::text() const {
    const std::string message = std::string("error: ") + what();
    return hint_.empty() ? message : message + "\n  \u2192 " + hint_;
}

}  // namespace effnet
