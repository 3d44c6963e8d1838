#pragma once

#include <stdexcept>
#include <string>

namespace effnet {

/// The exit codes of `python -m effnet` (docs/report-format.md).
enum class ExitCode { kOther = 1, kUsage = 2, kData = 3, kDevice = 6 };

/// Something the user can act on: the message says what is wrong, the hint what to do.
class Failure : public std::runtime_error {
  public:
    Failure(ExitCode code, const std::string& message, std::string hint = "");

    ExitCode code() const { return code_; }
    /// `error: MESSAGE`, and the hint below it.
    std::string text() const;

  private:
    ExitCode code_;
    std::string hint_;
};

/// One image could not be decoded; the message is the reason.
class UnreadableImage : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

}  // namespace effnet
