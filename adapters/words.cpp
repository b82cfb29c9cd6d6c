#include "adapters/words.hpp"

#include "wire/field.hpp"
#include "wire/find_key.hpp"

#include <simdjson.h>

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

namespace gw::adapters {
namespace {

namespace dom = simdjson::dom;

// ---- media types ----

// Whether `type/subtype`, without parameters, is this one; ASCII case does not matter. `name` is in lower
// case.
bool same_type(std::string_view content_type, std::string_view name)
{
    content_type = content_type.substr(0, content_type.find(';'));
    while (!content_type.empty() && (content_type.back() == ' ' || content_type.back() == '\t')) {
        content_type.remove_suffix(1);
    }
    return wire::same_name(content_type, name);
}

bool begins_with(std::string_view content_type, std::string_view prefix)
{
    return wire::same_name(content_type.substr(0, prefix.size()), prefix);
}

// ---- cleaning ----

constexpr std::string_view ellipsis = "\xE2\x80\xA6";

struct character
{
    char32_t value = 0;
    std::size_t size = 1;
    bool valid = false;
};

// The next character of a text that may not be UTF-8.
character next_character(std::string_view text)
{
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
    const unsigned char first = byte(0);
    if (first < 0x80) {
        return {first, 1, true};
    }
    std::size_t size = 0;
    char32_t value = 0;
    char32_t least = 0;
    if ((first & 0xE0U) == 0xC0) {
        size = 2, value = first & 0x1FU, least = 0x80;
    } else if ((first & 0xF0U) == 0xE0) {
        size = 3, value = first & 0x0FU, least = 0x800;
    } else if ((first & 0xF8U) == 0xF0) {
        size = 4, value = first & 0x07U, least = 0x10000;
    } else {
        return {};
    }
    if (text.size() < size) {
        return {};
    }
    for (std::size_t i = 1; i < size; ++i) {
        if ((byte(i) & 0xC0U) != 0x80) {
            return {};
        }
        value = (value << 6U) | (byte(i) & 0x3FU);
    }
    if (value < least || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) {
        return {};
    }
    return {value, size, true};
}

// Characters that end a line, reorder text or cannot be seen.
bool unprintable(char32_t value)
{
    return value < 0x20 || (value >= 0x7F && value < 0xA0) || (value >= 0x200B && value <= 0x200F) ||
           (value >= 0x2028 && value <= 0x202E) || (value >= 0x2066 && value <= 0x2069) || value == 0xFEFF;
}

bool alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// What base64 is made of, the URL-safe alphabet and the backslashes of JSON and Python included.
bool payload_like(char c)
{
    return alphanumeric(c) || c == '+' || c == '/' || c == '=' || c == '_' || c == '-' || c == '\\';
}

std::size_t run_of(std::string_view text, bool (*is)(char))
{
    std::size_t size = 0;
    while (size < text.size() && is(text[size])) {
        ++size;
    }
    return size;
}

// The size of what stands at the start of a word and must not be shown; `after_gap`: right behind such a
// thing, so that the last, short line of wrapped base64 goes too.
std::size_t hidden_prefix(std::string_view text, bool after_gap)
{
    // a Python byte string: the whole literal
    if (text.starts_with("b'") || text.starts_with("b\"")) {
        const char quote = text[1];
        std::size_t at = 2;
        while (at < text.size() && text[at] != quote) {
            at += text[at] == '\\' ? 2 : 1;
        }
        return at < text.size() ? at + 1 : text.size();
    }
    // a Hugging Face token
    if (text.starts_with("hf_")) {
        const std::size_t size = run_of(text.substr(3), alphanumeric);
        if (size >= 16) {
            return size + 3;
        }
    }
    const std::size_t size = run_of(text, payload_like);
    return size >= (after_gap ? 16U : 64U) ? size : 0;
}

// ---- shapes ----

std::optional<std::string_view> text_of(dom::element from)
{
    std::string_view text;
    if (from.get_string().get(text) != simdjson::SUCCESS) {
        return std::nullopt;
    }
    return text;
}

std::optional<std::string_view> text_at(dom::object from, std::string_view key)
{
    dom::element member;
    if (from.at_key(key).get(member) != simdjson::SUCCESS) {
        return std::nullopt;
    }
    return text_of(member);
}

std::optional<int> status_at(dom::object from, std::string_view key)
{
    std::int64_t number = 0;
    if (from.at_key(key).get_int64().get(number) != simdjson::SUCCESS || number < 100 || number > 599) {
        return std::nullopt;
    }
    return static_cast<int>(number);
}

void join(std::string& to, std::string_view more)
{
    if (!more.empty()) {
        to += to.empty() ? "" : "; ";
        to += more;
    }
}

// Where a validation error of FastAPI lies: body.messages.0.role
std::string location(dom::object from)
{
    std::string path;
    dom::array parts;
    if (from.at_key("loc").get_array().get(parts) != simdjson::SUCCESS) {
        return path;
    }
    for (const dom::element part : parts) {
        path += path.empty() ? "" : ".";
        if (const auto name = text_of(part)) {
            path += *name;
        } else {
            path += simdjson::minify(part);
        }
    }
    return path;
}

// A message in whatever wrapping: text, a list of them, an object that holds it.
std::string message_in(dom::element from, int depth)
{
    if (depth > 4) {
        return {};
    }
    if (const auto text = text_of(from)) {
        return std::string(*text);
    }
    std::string message;
    dom::array list;
    if (from.get_array().get(list) == simdjson::SUCCESS) {
        std::size_t count = 0;
        for (const dom::element each : list) {
            if (++count > 8) {
                break;
            }
            join(message, message_in(each, depth + 1));
        }
        return message;
    }
    dom::object object;
    if (from.get_object().get(object) != simdjson::SUCCESS) {
        return message;
    }
    static constexpr std::array<std::string_view, 4> keys{"message", "error", "msg", "detail"};
    for (const std::string_view key : keys) {
        dom::element member;
        if (object.at_key(key).get(member) != simdjson::SUCCESS) {
            continue;
        }
        message = message_in(member, depth + 1);
        if (!message.empty()) {
            const std::string where = key == "msg" ? location(object) : std::string{};
            return where.empty() ? message : where + ": " + message;
        }
    }
    return message;
}

void read_object(dom::object root, upstream_words& out)
{
    // the object that holds type and code: `error` if it is one, else the root
    dom::element error;
    dom::object inner = root;
    const bool has_error = root.at_key("error").get(error) == simdjson::SUCCESS;
    const bool nested = has_error && error.get_object().get(inner) == simdjson::SUCCESS;
    if (!nested) {
        inner = root;
    }
    out.flat_list = has_error && error.is_array();

    static constexpr std::array<std::string_view, 5> keys{
        "error", "message", "detail", "errors", "error_description"
    };
    for (const std::string_view key : keys) {
        dom::element member;
        if (out.message.empty() && root.at_key(key).get(member) == simdjson::SUCCESS) {
            out.message = message_in(member, 0);
        }
    }

    if (const auto type = text_at(root, "error_type")) {
        out.type = *type;
    } else if (const auto own = text_at(inner, "type")) {
        out.type = *own;
    } else if (const auto outer = text_at(root, "type")) {
        out.type = *outer;
    }
    if (const auto code = text_at(inner, "code")) {
        out.code = *code;
    } else if (const auto outer = text_at(root, "code")) {
        out.code = *outer;
    }
    for (const auto& [where, key] :
         {std::pair{inner, "code"},
          std::pair{inner, "http_status_code"},
          std::pair{root, "code"},
          std::pair{root, "status"}}) {
        if (out.status == 0) {
            out.status = status_at(where, key).value_or(0);
        }
    }
    double seconds = 0;
    if (root.at_key("estimated_time").get_double().get(seconds) == simdjson::SUCCESS && seconds >= 0) {
        out.estimated_time = seconds;
    }
}

std::string_view trim(std::string_view text)
{
    static constexpr std::string_view blanks = " \t\r\n";
    const std::size_t first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) {
        return {};
    }
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

} // namespace

std::string lower_case(std::string_view text)
{
    std::string lower(text);
    for (char& c : lower) {
        if (c >= 'A' && c <= 'Z') {
            c = static_cast<char>(c - 'A' + 'a');
        }
    }
    return lower;
}

bool is_html(std::string_view content_type)
{
    return same_type(content_type, "text/html") || same_type(content_type, "application/xhtml+xml");
}

bool is_event_stream(std::string_view content_type)
{
    return same_type(content_type, "text/event-stream");
}

bool is_media(std::string_view content_type)
{
    return begins_with(content_type, "image/") || begins_with(content_type, "audio/") ||
           begins_with(content_type, "video/") || same_type(content_type, "application/octet-stream") ||
           same_type(content_type, "binary/octet-stream");
}

std::string clean_words(std::string_view text, std::size_t limit)
{
    std::string clean;
    bool word_start = true; // the character before was no letter or digit
    bool gap = false;       // only blanks since something was hidden
    bool broken = false;    // the character before was no UTF-8
    const std::size_t enough = limit + 8;

    while (!text.empty() && clean.size() < enough) {
        const character c = next_character(text);
        if (!c.valid) {
            if (!broken) {
                clean += "\xEF\xBF\xBD";
            }
            broken = word_start = true;
            text.remove_prefix(1);
            continue;
        }
        broken = false;

        // blanks and everything invisible: one space
        if (c.value == ' ' || c.value == 0xA0 || unprintable(c.value)) {
            if (!clean.empty() && clean.back() != ' ') {
                clean += ' ';
            }
            word_start = true;
            text.remove_prefix(c.size);
            continue;
        }

        // payloads and tokens: one ellipsis
        const std::size_t hidden = word_start ? hidden_prefix(text, gap) : 0;
        if (hidden > 0) {
            while (gap && clean.ends_with(' ')) {
                clean.pop_back();
            }
            if (!clean.ends_with(ellipsis)) {
                clean += ellipsis;
            }
            gap = true;
            text.remove_prefix(hidden);
            continue;
        }

        gap = false;
        word_start = c.value < 0x80 && !alphanumeric(static_cast<char>(c.value));
        clean += text.substr(0, c.size);
        text.remove_prefix(c.size);
    }

    while (clean.ends_with(' ')) {
        clean.pop_back();
    }
    if (clean.size() > limit) {
        std::size_t end = limit > ellipsis.size() ? limit - ellipsis.size() : 0;
        while (end > 0 && (static_cast<unsigned char>(clean[end]) & 0xC0U) == 0x80) {
            --end;
        }
        clean.resize(end);
        clean += ellipsis;
    }
    return clean;
}

upstream_words read_words(std::string_view body, std::string_view content_type)
{
    upstream_words out;
    body = trim(body);
    if (body.empty()) {
        return out;
    }
    if (body.front() == '<' || is_html(content_type)) {
        out.html = true;
        return out;
    }
    if (body.front() == '{' || body.front() == '[' || body.front() == '"') {
        dom::parser parser;
        dom::element root;
        const simdjson::padded_string padded(body);
        if (parser.parse(padded).get(root) == simdjson::SUCCESS) {
            dom::object object;
            if (root.get_object().get(object) == simdjson::SUCCESS) {
                read_object(object, out);
            } else {
                out.message = message_in(root, 0);
                out.flat_list = root.is_array();
            }
            return out;
        }
    }
    out.message = std::string(body);
    return out;
}

bool is_error_event(std::string_view name, std::string_view data)
{
    if (name == "error") {
        return true;
    }
    // a quote inside a JSON string is escaped, so an ordinary event never holds these bytes
    if (!wire::has_key(data, "\"error\"") &&
        !(wire::has_key(data, "\"message\"") && wire::has_key(data, "\"code\""))) {
        return false;
    }
    dom::parser parser;
    dom::object root;
    const simdjson::padded_string padded(data);
    if (parser.parse(padded).get_object().get(root) != simdjson::SUCCESS) {
        return false;
    }
    dom::element member;
    if (root.at_key("error").get(member) == simdjson::SUCCESS) {
        return !member.is_null();
    }
    if (root.at_key("choices").get(member) == simdjson::SUCCESS) {
        return false;
    }
    // flat: {"object":"error",...} and {"message","code","type"}
    return text_at(root, "object") == "error" || text_at(root, "message").has_value();
}

} // namespace gw::adapters
