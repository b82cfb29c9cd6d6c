#include "wire/json_walk.hpp"

#include "wire/json_text.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace gw::wire {
namespace {

constexpr std::string_view blanks = " \t\r\n";
constexpr std::size_t none = std::string_view::npos;

std::size_t skip_blanks(std::string_view text, std::size_t at)
{
    at = text.find_first_not_of(blanks, at);
    return at == none ? text.size() : at;
}

// Behind the closing quote of the string that opens at `at`.
std::size_t end_of_string(std::string_view text, std::size_t at)
{
    for (++at; at < text.size(); ++at) {
        if (text[at] == '"') {
            return at + 1;
        }
        at += text[at] == '\\' ? 1 : 0;
    }
    return none;
}

// Behind the value that begins at `at`.
std::size_t end_of_value(std::string_view text, std::size_t at)
{
    if (at >= text.size()) {
        return none;
    }
    if (text[at] == '"') {
        return end_of_string(text, at);
    }
    if (text[at] != '{' && text[at] != '[') {
        const std::size_t end = std::min(text.find_first_of(",]} \t\r\n", at), text.size());
        return end > at ? end : none;
    }
    std::size_t depth = 0;
    while (at < text.size()) {
        switch (text[at]) {
        case '"':
            at = end_of_string(text, at);
            if (at == none) {
                return none;
            }
            continue;
        case '{':
        case '[':
            ++depth;
            break;
        case '}':
        case ']':
            if (--depth == 0) {
                return at + 1;
            }
            break;
        default:
            break;
        }
        ++at;
    }
    return none;
}

// Goes over the members of the object, or the elements of the array, that opens at `begin`. f(key with its
// quotes, or "", range of the value) says whether to go on.
//   returns  false: the text is no such container
template <class F>
bool walk(std::string_view text, std::size_t begin, F&& f)
{
    if (begin >= text.size() || (text[begin] != '{' && text[begin] != '[')) {
        return false;
    }
    const bool object = text[begin] == '{';
    const char closing = object ? '}' : ']';
    std::size_t at = skip_blanks(text, begin + 1);
    if (at < text.size() && text[at] == closing) {
        return true;
    }
    while (at < text.size()) {
        std::string_view key;
        if (object) {
            const std::size_t end = text[at] == '"' ? end_of_string(text, at) : none;
            if (end == none) {
                return false;
            }
            key = text.substr(at, end - at);
            at = skip_blanks(text, end);
            if (at >= text.size() || text[at] != ':') {
                return false;
            }
            at = skip_blanks(text, at + 1);
        }
        const std::size_t end = end_of_value(text, at);
        if (end == none) {
            return false;
        }
        if (!f(key, byte_range{at, end})) {
            return true;
        }
        at = skip_blanks(text, end);
        if (at >= text.size() || text[at] != ',') {
            return at < text.size() && text[at] == closing;
        }
        at = skip_blanks(text, at + 1);
    }
    return false;
}

// One reference token of a pointer: `~1` is a slash, `~0` a tilde.
std::string plain_token(std::string_view token)
{
    std::string plain;
    for (std::size_t i = 0; i < token.size(); ++i) {
        if (token[i] == '~' && i + 1 < token.size() && (token[i + 1] == '0' || token[i + 1] == '1')) {
            plain += token[++i] == '0' ? '~' : '/';
        } else {
            plain += token[i];
        }
    }
    return plain;
}

// An index of an array: digits without a leading zero.
std::optional<std::uint64_t> array_index(std::string_view token)
{
    if (token.empty() || token.size() > 9 || (token.size() > 1 && token[0] == '0')) {
        return std::nullopt;
    }
    std::uint64_t value = 0;
    for (const char c : token) {
        if (c < '0' || c > '9') {
            return std::nullopt;
        }
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
    }
    return value;
}

std::optional<byte_range> child(std::string_view text, std::size_t begin, const std::string& token)
{
    std::optional<byte_range> found;
    const bool object = begin < text.size() && text[begin] == '{';
    const std::optional<std::uint64_t> wanted = object ? std::nullopt : array_index(token);
    if (!object && !wanted) {
        return std::nullopt;
    }
    std::uint64_t index = 0;
    walk(text, begin, [&](std::string_view key, byte_range value) {
        if (object ? string_of(key) == token : index++ == *wanted) {
            found = value;
            return false;
        }
        return true;
    });
    return found;
}

} // namespace

std::optional<byte_range> find_value(std::string_view document, std::string_view pointer)
{
    const std::size_t begin = skip_blanks(document, 0);
    const std::size_t end = end_of_value(document, begin);
    if (end == none) {
        return std::nullopt;
    }
    byte_range value{begin, end};
    while (!pointer.empty()) {
        if (pointer.front() != '/') {
            return std::nullopt;
        }
        pointer.remove_prefix(1);
        const std::string_view token = pointer.substr(0, pointer.find('/'));
        pointer.remove_prefix(token.size());
        const auto next = child(document, value.begin, plain_token(token));
        if (!next) {
            return std::nullopt;
        }
        value = *next;
    }
    return value;
}

std::optional<std::vector<member_view>> members_of(std::string_view object)
{
    const std::size_t begin = skip_blanks(object, 0);
    if (begin >= object.size() || object[begin] != '{') {
        return std::nullopt;
    }
    std::vector<member_view> members;
    bool readable = true;
    const bool whole = walk(object, begin, [&](std::string_view key, byte_range value) {
        auto name = string_of(key);
        readable = name.has_value();
        if (readable) {
            members.push_back({std::move(*name), object.substr(value.begin, value.size())});
        }
        return readable;
    });
    if (!whole || !readable) {
        return std::nullopt;
    }
    return members;
}

std::string_view member_of(std::string_view object, std::string_view key)
{
    const std::size_t begin = skip_blanks(object, 0);
    if (begin >= object.size() || object[begin] != '{') {
        return {};
    }
    std::string_view found;
    walk(object, begin, [&](std::string_view name, byte_range value) {
        const bool same = string_of(name) == key;
        found = same ? object.substr(value.begin, value.size()) : found;
        return !same;
    });
    return found;
}

std::optional<std::vector<std::string_view>> elements_of(std::string_view array)
{
    const std::size_t begin = skip_blanks(array, 0);
    if (begin >= array.size() || array[begin] != '[') {
        return std::nullopt;
    }
    std::vector<std::string_view> elements;
    const bool whole = walk(array, begin, [&](std::string_view, byte_range value) {
        elements.push_back(array.substr(value.begin, value.size()));
        return true;
    });
    if (!whole) {
        return std::nullopt;
    }
    return elements;
}

std::optional<std::string> string_of(std::string_view value)
{
    if (value.size() < 2 || value.front() != '"' || value.back() != '"') {
        return std::nullopt;
    }
    return unescape_json_string(value.substr(1, value.size() - 2));
}

std::string json_string(std::string_view text)
{
    std::string out;
    append_json_string(out, text);
    return out;
}

} // namespace gw::wire
