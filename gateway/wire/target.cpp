#include "wire/target.hpp"

#include "wire/bytes.hpp"
#include "wire/field.hpp"

#include <cstdint>
#include <optional>

namespace gw::wire {
namespace {

std::unexpected<failure> refuse_target(std::string_view problem)
{
    failure why{.what = code::bad_framing, .from = origin::client};
    why.text = std::string{"bad request target: "}.append(problem);
    why.close = true;
    return std::unexpected(std::move(why));
}

// The byte of the escape at text[at] (a `%`), or -1.
int escaped_byte(std::string_view text, std::size_t at)
{
    if (text.size() - at < 3) {
        return -1;
    }
    const int high = bytes::hex_value(text[at + 1]);
    const int low = bytes::hex_value(text[at + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// What both path and query must hold. nullopt: nothing wrong.
std::optional<std::string_view> problem_of_bytes(std::string_view text)
{
    for (std::size_t at = 0; at < text.size(); ++at) {
        const char c = text[at];
        if ((bytes::class_of(c) & bytes::visible) == 0) {
            return "a byte that must be percent-encoded";
        }
        if (c == '#') {
            return "`#` must not be sent";
        }
        if (c == '\\') {
            return "`\\` must not be sent";
        }
        if (c == '%') {
            const int byte = escaped_byte(text, at);
            if (byte < 0) {
                return "`%` without two hexadecimal digits";
            }
            if (byte < 0x20 || byte == 0x7f) {
                return "an encoded control character; send such a value in a JSON body";
            }
        }
    }
    return std::nullopt;
}

// Segments: none empty but the last, no dots that walk, no second reading of `/`.
std::optional<std::string_view> problem_of_path(std::string_view path)
{
    int slashes = 0; // encoded ones
    std::size_t dots = 0;
    bool only_dots = true;
    const auto walks = [&] { return only_dots && (dots == 1 || dots == 2); };
    bool dot_encoded = false; // the byte before was %2e
    for (std::size_t at = 1; at < path.size(); ++at) {
        char c = path[at];
        bool encoded = false;
        if (c == '%') {
            c = static_cast<char>(escaped_byte(path, at));
            encoded = true;
            at += 2;
        }
        if (c == '\\') {
            return "an encoded backslash";
        }
        if (c == '/') {
            if (encoded && ++slashes > 1) {
                return "more than one encoded `/`";
            }
            if (walks()) {
                return "a segment `.` or `..`";
            }
            if (dots == 0 && only_dots) {
                return "an empty segment (`//`)";
            }
            dots = 0;
            only_dots = true;
        } else if (c == '.') {
            if (encoded && dot_encoded) {
                return "`%2e%2e`";
            }
            ++dots;
        } else {
            only_dots = false;
        }
        dot_encoded = encoded && c == '.';
    }
    if (walks()) {
        return "a segment `.` or `..`";
    }
    return std::nullopt;
}

result<std::string> decode(std::string_view text, bool plus_is_space)
{
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '%') {
            const int byte = escaped_byte(text, at);
            if (byte < 0) {
                return refuse_target("`%` without two hexadecimal digits");
            }
            out.push_back(static_cast<char>(byte));
            at += 2;
        } else {
            out.push_back(plus_is_space && text[at] == '+' ? ' ' : text[at]);
        }
    }
    return out;
}

} // namespace

result<target> parse_target(std::string_view raw)
{
    target made;
    if (raw == "*") {
        made.path = raw;
        return made;
    }

    // Absolute form: scheme and authority first.
    if (!raw.starts_with('/')) {
        const std::size_t mark = raw.find("://");
        if (mark == std::string_view::npos) {
            return refuse_target("it must start with `/`");
        }
        const std::string_view scheme = raw.substr(0, mark);
        if (!same_name(scheme, "http") && !same_name(scheme, "https")) {
            return refuse_target("its scheme is neither http nor https");
        }
        raw.remove_prefix(mark + 3);
        made.authority = raw.substr(0, raw.find_first_of("/?#"));
        if (!valid_authority(made.authority)) {
            return refuse_target("its host is no name or address with an optional port");
        }
        raw.remove_prefix(made.authority.size());
    }

    if (const auto problem = problem_of_bytes(raw)) {
        return refuse_target(*problem);
    }
    const std::size_t question = raw.find('?');
    made.path = raw.substr(0, question);
    if (question != std::string_view::npos) {
        made.query = raw.substr(question + 1);
    }
    if (made.path.empty()) {
        made.path = "/"; // `http://host?query`
    }
    if (const auto problem = problem_of_path(made.path)) {
        return refuse_target(*problem);
    }
    return made;
}

result<std::string> percent_decode(std::string_view text)
{
    return decode(text, false);
}

result<std::string> percent_decode_query(std::string_view text)
{
    return decode(text, true);
}

std::string percent_encode_segment(std::string_view text)
{
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        if ((bytes::class_of(c) & bytes::plain) != 0) {
            out.push_back(c);
        } else {
            const auto value = static_cast<unsigned char>(c);
            out.push_back('%');
            out.push_back(digits[value >> 4]);
            out.push_back(digits[value & 15]);
        }
    }
    return out;
}

} // namespace gw::wire
