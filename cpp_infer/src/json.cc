#include "json.h"

#include <cctype>
#include <charconv>
#include <cstdint>
#include <stdexcept>
#include <utility>

namespace effnet {
namespace {

constexpr int kDeepest = 100;

class Parser {
  public:
    explicit Parser(std::string_view text) : text_(text) {}

    Json whole() {
        Json value = any(0);
        space();
        if (at_ != text_.size()) fail("the end");
        return value;
    }

  private:
    [[noreturn]] void fail(const std::string& expected) const {
        throw std::invalid_argument("expected " + expected + " at byte " + std::to_string(at_));
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    void space() {
        while (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t') ++at_;
    }

    bool took(std::string_view wanted) {
        if (text_.substr(at_, wanted.size()) != wanted) return false;
        at_ += wanted.size();
        return true;
    }

    void take(std::string_view wanted) {
        if (!took(wanted)) fail("'" + std::string(wanted) + "'");
    }

    Json any(int depth) {
        if (depth > kDeepest) fail("less depth");
        space();
        switch (peek()) {
            case '{':
                return Json(map(depth));
            case '[':
                return Json(list(depth));
            case '"':
                return Json(string());
            default:
                break;
        }
        if (took("true")) return Json(true);
        if (took("false")) return Json(false);
        if (took("null")) return Json(nullptr);
        return Json(number());
    }

    Json::Map map(int depth) {
        Json::Map found;
        take("{");
        space();
        if (took("}")) return found;
        while (true) {
            space();
            std::string name = string();
            space();
            take(":");
            found.insert_or_assign(std::move(name), any(depth + 1));
            space();
            if (took("}")) return found;
            take(",");
        }
    }

    Json::List list(int depth) {
        Json::List found;
        take("[");
        space();
        if (took("]")) return found;
        while (true) {
            found.push_back(any(depth + 1));
            space();
            if (took("]")) return found;
            take(",");
        }
    }

    double number() {
        double value = 0.0;
        const char* begin = text_.data() + at_;
        const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
        const bool starts = peek() == '-' || std::isdigit(static_cast<unsigned char>(peek())) != 0;
        if (error != std::errc() || !starts) fail("a value");
        at_ += static_cast<std::size_t>(end - begin);
        return value;
    }

    std::string string() {
        std::string out;
        take("\"");
        while (peek() != '"') {
            if (at_ >= text_.size() || static_cast<unsigned char>(peek()) < 0x20) fail("'\"'");
            if (took("\\")) {
                escaped(out);
            } else {
                out += text_[at_++];
            }
        }
        ++at_;
        return out;
    }

    void escaped(std::string& out) {
        static constexpr std::string_view kLetters = "\"\\/bfnrt";
        static constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
        if (took("u")) {
            std::uint32_t code = hex();
            // Characters past 16 bits are written as two.
            if (code >= 0xD800 && code < 0xDC00 && took("\\u")) {
                code = 0x10000 + ((code - 0xD800) << 10) + (hex() - 0xDC00);
            }
            append_utf8(out, code);
            return;
        }
        const std::size_t place = kLetters.find(peek());
        if (peek() == '\0' || place == std::string_view::npos) fail("an escape");
        out += kMeanings[place];
        ++at_;
    }

    std::uint32_t hex() {
        std::uint32_t value = 0;
        const std::string_view digits = text_.substr(at_, 4);
        const char* end = digits.data() + digits.size();
        const auto result = std::from_chars(digits.data(), end, value, 16);
        if (digits.size() != 4 || result.ptr != end) fail("four hexadecimal digits");
        at_ += 4;
        return value;
    }

    static void append_utf8(std::string& out, std::uint32_t code) {
        if (code < 0x80) {
            out += static_cast<char>(code);
            return;
        }
        const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        const std::uint32_t marks[] = {0, 0xC0, 0xE0, 0xF0};
        out += static_cast<char>(marks[more] | (code >> (6 * more)));
        for (int left = more - 1; left >= 0; --left) {
            out += static_cast<char>(0x80 | ((code >> (6 * left)) & 0x3F));
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

template <class Kind>
const Kind& as(
    const std::variant<std::nullptr_t, bool, double, std::string, Json::List, Json::Map>& value,
    const char* expected) {
    const Kind* found = std::get_if<Kind>(&value);
    if (found == nullptr) throw std::invalid_argument(std::string("not ") + expected);
    return *found;
}

}  // namespace

Json Json::parse(std::string_view text) {
    return Parser(text).whole();
}

const Json* Json::find(const std::string& name) const {
    const Map& map = as<Map>(value_, "an object");
    const auto found = map.find(name);
    return found == map.end() ? nullptr : &found->second;
}

double Json::number() const {
    return as<double>(value_, "a number");
}
const std::string& Json::text() const {
    return as<std::string>(value_, "a text");
}
const Json::List& Json::list() const {
    return as<List>(value_, "a list");
}

}  // namespace effnet
