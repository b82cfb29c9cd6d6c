#include "adapters/output.hpp"

#include "payload/base64.hpp"
#include "payload/media_type.hpp"
#include "wire/json_text.hpp"
#include "wire/json_walk.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace gw::adapters {
namespace {

// Where servers put an image or audio: the toolkit's bare string, its custom handlers, the old CPU back end,
// OpenAI's shape, Hyperbolic's.
constexpr std::array<std::string_view, 7> usual_places{
    "", "/image", "/audio", "/0/blob", "/0/image", "/data/0/b64_json", "/images/0/image"
};

// Base64 characters that decode to as many bytes as sniffing looks at.
constexpr std::size_t enough_characters = (payloads::sniff_bytes + 2) / 3 * 4;

const wire::json_long_string* long_string_at(const wire::json_index& index, std::string_view pointer)
{
    const auto found = std::ranges::find(index.longs, pointer, &wire::json_long_string::path);
    return found == index.longs.end() ? nullptr : &*found;
}

// The value's range; without the text only the root, top-level members and long strings are known.
std::optional<byte_range> place(const event::whole& answer, std::string_view pointer)
{
    if (pointer.empty()) {
        return answer.index.where;
    }
    if (!answer.text.empty()) {
        return wire::find_value(answer.text, pointer);
    }
    if (const auto* big = long_string_at(answer.index, pointer)) {
        return byte_range{big->where.begin - 1, big->where.end + 1};
    }
    for (const auto& member : answer.index.members) {
        std::string path = "/";
        for (const char c : member.key) {
            path += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
        }
        if (path == pointer) {
            return member.where;
        }
    }
    return std::nullopt;
}

output failed(std::string problem)
{
    return {.problem = std::move(problem)};
}

// A string of base64, with or without a data: prefix.
struct base64_text
{
    byte_range where;             // behind the prefix
    std::uint64_t characters = 0; // unescaped
    std::uint64_t padding = 0;
    bool escaped = false;
    std::string first;      // the first characters, unescaped
    std::string media_type; // from the prefix
};

// The media type of `data:image/png;base64,`, and the prefix's length; 0: no prefix.
std::size_t read_prefix(std::string_view text, std::string& media_type)
{
    if (!text.starts_with("data:")) {
        return 0;
    }
    const std::size_t comma = text.substr(0, 256).find(',');
    if (comma == std::string_view::npos || !text.substr(0, comma).ends_with(";base64")) {
        return 0;
    }
    std::string type(text.substr(5, comma - 5));
    std::erase(type, '\\'); // `image\/png`
    media_type = payloads::canonical(type);
    return comma + 1;
}

std::optional<base64_text> read_short(std::string_view document, byte_range value)
{
    std::string_view raw = document.substr(value.begin, value.size());
    if (raw.size() < 2 || raw.front() != '"') {
        return std::nullopt;
    }
    raw = raw.substr(1, raw.size() - 2);
    base64_text found;
    const std::size_t prefix = read_prefix(raw, found.media_type);
    raw.remove_prefix(prefix);
    found.where = {value.begin + 1 + prefix, value.end - 1};
    found.escaped = raw.contains('\\');
    std::string plain;
    if (found.escaped) {
        plain = wire::unescape_json_string(raw).value_or("");
        raw = plain;
    }
    found.characters = raw.size();
    found.padding = raw.ends_with("==") ? 2U : raw.ends_with('=') ? 1U : 0U;
    found.first = std::string(raw.substr(0, enough_characters));
    return found;
}

std::optional<base64_text> read_long(const wire::json_long_string& big)
{
    base64_text found;
    const std::size_t prefix = read_prefix(big.head, found.media_type);
    if (prefix != 0 && big.escaped) {
        return std::nullopt; // where the prefix ends in the bytes is not known any more
    }
    found.where = {big.where.begin + prefix, big.where.end};
    found.escaped = big.escaped;
    found.characters = found.where.size() - big.escapes_removed;
    found.padding = big.padding;
    found.first = big.head.substr(std::min(prefix, big.head.size()), enough_characters);
    return found;
}

// The bytes behind it; nullopt: it is no base64.
std::optional<output> decoded(const base64_text& from)
{
    if (from.characters == 0 || from.characters % 4 != 0 || from.padding > 2) {
        return std::nullopt;
    }
    const auto first =
        payloads::decode_base64(std::string_view(from.first).substr(0, from.first.size() / 4 * 4));
    if (!first || first->empty()) {
        return std::nullopt;
    }
    output made{.bytes = true, .media_type = std::string(payloads::sniff(*first))};
    if (made.media_type.empty()) {
        made.media_type = from.media_type.empty() ? "application/octet-stream" : from.media_type;
    }
    made.body.pieces.push_back(piece::decode(from.where, from.escaped, from.characters / 4 * 3 - from.padding)
    );
    return made;
}

std::optional<output> bytes_at(const event::whole& answer, std::string_view pointer)
{
    const auto where = place(answer, pointer);
    if (!where) {
        return std::nullopt;
    }
    std::optional<base64_text> text;
    if (const auto* big = long_string_at(answer.index, pointer)) {
        text = read_long(*big);
    }
    if (!text && !answer.text.empty() && where->end <= answer.text.size()) {
        text = read_short(answer.text, *where);
    }
    return text ? decoded(*text) : std::nullopt;
}

} // namespace

output find_output(const event::whole& answer, const std::optional<std::string>& pointer, bool bytes)
{
    if (bytes) {
        if (pointer) {
            auto found = bytes_at(answer, *pointer);
            return found ? std::move(*found)
                         : failed("the upstream's answer has no base64 at `" + *pointer + "`");
        }
        for (const std::string_view each : usual_places) {
            if (auto found = bytes_at(answer, each)) {
                return std::move(*found);
            }
        }
        return failed("the upstream's answer is JSON without an image or audio in it");
    }

    const auto where = place(answer, pointer.value_or(""));
    if (!where) {
        return failed("the upstream's answer has nothing at `" + *pointer + "`");
    }
    output made{.media_type = "application/json"};
    made.body.pieces.push_back(piece::copy(*where));
    return made;
}

} // namespace gw::adapters
