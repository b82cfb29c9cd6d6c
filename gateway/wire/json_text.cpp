#include "wire/json_text.hpp"

#include "wire/bytes.hpp"

#include <algorithm>
#include <cstdint>

namespace gw::wire {
namespace {

constexpr std::size_t few = 16; // bytes, of which each is looked up faster than the wide search begins

// A JSON string as it stands: printable ASCII that needs no escape.
bool is_plain(std::string_view text)
{
    if (text.size() < few) {
        return std::ranges::all_of(text, [](char c) { return (bytes::class_of(c) & bytes::unescaped) != 0; });
    }
    const char* const end = text.data() + text.size();
    return bytes::find_string_stop(text.data(), end) == end && !text.contains('\x7f');
}

void append_utf8(std::string& out, std::uint32_t c)
{
    const auto byte = [&out](std::uint32_t value) { out.push_back(static_cast<char>(value)); };
    if (c < 0x80) {
        byte(c);
    } else if (c < 0x800) {
        byte(0xc0 | c >> 6);
        byte(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        byte(0xe0 | c >> 12);
        byte(0x80 | (c >> 6 & 0x3f));
        byte(0x80 | (c & 0x3f));
    } else {
        byte(0xf0 | c >> 18);
        byte(0x80 | (c >> 12 & 0x3f));
        byte(0x80 | (c >> 6 & 0x3f));
        byte(0x80 | (c & 0x3f));
    }
}

// The value of four hexadecimal digits at `at`, or -1.
std::int32_t four_digits(const char* at, const char* end)
{
    if (end - at < 4) {
        return -1;
    }
    std::int32_t value = 0;
    for (int i = 0; i < 4; ++i) {
        const int digit = bytes::hex_value(at[i]);
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

bool high_surrogate(std::int32_t value)
{
    return value >= 0xd800 && value <= 0xdbff;
}

bool low_surrogate(std::int32_t value)
{
    return value >= 0xdc00 && value <= 0xdfff;
}

// The character of a short escape, 0 if there is none.
char short_escape(char c)
{
    switch (c) {
    case '"':
    case '\\':
    case '/':
        return c;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return 0;
    }
}

void append_hex_escape(std::string& out, unsigned value)
{
    constexpr std::string_view digits = "0123456789abcdef";
    out.append("\\u");
    for (int shift = 12; shift >= 0; shift -= 4) {
        out.push_back(digits[value >> shift & 15]);
    }
}

} // namespace

std::optional<std::string> unescape_json_string(std::string_view inside_quotes)
{
    std::string out;
    out.reserve(inside_quotes.size());
    const char* at = inside_quotes.data();
    const char* const end = at + inside_quotes.size();
    while (true) {
        const char* const run = at;
        at = bytes::find_string_stop(at, end);
        out.append(run, static_cast<std::size_t>(at - run));
        if (at == end) {
            return out;
        }
        if (static_cast<unsigned char>(*at) >= 0x80) {
            const std::size_t size = bytes::utf8_size(at, end);
            if (size == 0) {
                return std::nullopt;
            }
            out.append(at, size);
            at += size;
            continue;
        }
        if (*at != '\\' || end - at < 2) {
            return std::nullopt;
        }
        if (const char c = short_escape(at[1]); c != 0) {
            out.push_back(c);
            at += 2;
            continue;
        }
        const std::int32_t value = at[1] == 'u' ? four_digits(at + 2, end) : -1;
        if (value < 0) {
            return std::nullopt;
        }
        at += 6;
        if (high_surrogate(value) && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
            if (const std::int32_t low = four_digits(at + 2, end); low_surrogate(low)) {
                append_utf8(
                    out,
                    0x10000u + (static_cast<std::uint32_t>(value - 0xd800) << 10) +
                        static_cast<std::uint32_t>(low - 0xdc00)
                );
                at += 6;
                continue;
            }
        }
        append_utf8(
            out, high_surrogate(value) || low_surrogate(value) ? 0xfffdu : static_cast<std::uint32_t>(value)
        );
    }
}

void append_json_string(std::string& out, std::string_view text)
{
    if (is_plain(text)) {
        out.append(text.size() + 2, '"');
        text.copy(out.data() + out.size() - 1 - text.size(), text.size()); // no memcpy: it may be null
        return;
    }
    out.push_back('"');
    const char* at = text.data();
    const char* const end = at + text.size();
    while (at != end) {
        const char* const run = at;
        at = bytes::find_string_stop(at, end);
        std::string_view plain{run, static_cast<std::size_t>(at - run)};
        for (std::size_t del = 0;
             (del = plain.find('\x7f')) != std::string_view::npos;) { // no stop of the search
            out.append(plain.substr(0, del));
            append_hex_escape(out, 0x7f);
            plain.remove_prefix(del + 1);
        }
        out.append(plain);
        if (at == end) {
            break;
        }
        const auto c = static_cast<unsigned char>(*at);
        if (c < 0x80) {
            switch (c) {
            case '"':
                out.append("\\\"");
                break;
            case '\\':
                out.append("\\\\");
                break;
            case '\n':
                out.append("\\n");
                break;
            case '\r':
                out.append("\\r");
                break;
            case '\t':
                out.append("\\t");
                break;
            case '\b':
                out.append("\\b");
                break;
            case '\f':
                out.append("\\f");
                break;
            default:
                append_hex_escape(out, c);
            }
            ++at;
            continue;
        }
        const std::size_t size = bytes::utf8_size(at, end);
        if (size == 0) {
            append_hex_escape(out, 0xfffd);
            ++at;
            continue;
        }
        const std::string_view character{at, size};
        if (size == 2 && c == 0xc2 && static_cast<unsigned char>(at[1]) < 0xa0) {
            append_hex_escape(out, static_cast<unsigned char>(at[1])); // U+0080 to U+009F, U+0085 among them
        } else if (character == "\u2028") {
            append_hex_escape(out, 0x2028);
        } else if (character == "\u2029") {
            append_hex_escape(out, 0x2029);
        } else {
            out.append(character);
        }
        at += size;
    }
    out.push_back('"');
}

void append_json_line(std::string& out, std::string_view json)
{
    // Line breaks stand only between tokens in JSON, where they mean nothing; the three other characters at
    // which line readers split stand only in strings, where an escape means the same.
    for (std::size_t at = 0; at < json.size(); ++at) {
        const char byte = json[at];
        if (byte == '\n' || byte == '\r') {
            continue;
        }
        const std::string_view rest = json.substr(at);
        if (rest.starts_with("\xC2\x85")) {
            out += "\\u0085";
            at += 1;
        } else if (rest.starts_with("\xE2\x80\xA8")) {
            out += "\\u2028";
            at += 2;
        } else if (rest.starts_with("\xE2\x80\xA9")) {
            out += "\\u2029";
            at += 2;
        } else {
            out += byte;
        }
    }
}

} // namespace gw::wire
