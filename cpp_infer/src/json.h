#pragma once

#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace effnet {

/// A value of RFC 8259, as far as records need it: numbers are doubles.
class Json {
  public:
    using List = std::vector<Json>;
    using Map = std::map<std::string, Json>;

    Json() = default;
    explicit Json(std::variant<std::nullptr_t, bool, double, std::string, List, Map> value)
        : value_(std::move(value)) {}

    /// Throws `std::invalid_argument` with the place.
    static Json parse(std::string_view text);

    /// The member of that name, or `nullptr` where there is none.
    const Json* find(const std::string& name) const;

    // Each throws `std::invalid_argument` for a value of another kind.
    double number() const;
    const std::string& text() const;
    const List& list() const;

  private:
    std::variant<std::nullptr_t, bool, double, std::string, List, Map> value_;
};

}  // namespace effnet
