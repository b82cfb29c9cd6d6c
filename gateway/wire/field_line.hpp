// One header line, byte by byte from left to right, so that a verdict never depends on how much has arrived
// behind it. Internal to wire/: the request and the response scan share it.
#pragma once

#include "wire/bytes.hpp"
#include "wire/field.hpp"

#include <cstddef>
#include <string_view>

namespace gw::wire {

struct field_line
{
    enum class is { field, blank, more, bad };

    field found;
    bool underscore = false; // the name holds `_`
    std::size_t next = 0;    // field, blank: where the next line starts. bad: the offending byte
    std::string_view why;    // bad: a literal
};

// Why a control byte may not stand here.
[[nodiscard]] inline std::string_view control_problem(char c)
{
    switch (c) {
    case '\r':
        return "a bare CR; lines end in CR LF";
    case '\n':
        return "a bare LF; lines end in CR LF";
    case '\0':
        return "a NUL byte";
    default:
        return "a control byte";
    }
}

// Scans the line that starts at `from`.  source  RFC 9112 section 5
[[nodiscard]] inline field_line::is scan_line(std::string_view bytes, std::size_t from, field_line& out)
{
    using enum field_line::is;
    const char* const begin = bytes.data();
    const char* const end = begin + bytes.size();
    const char* at = begin + from;
    const auto bad_at = [&](const char* where, std::string_view why) {
        out.next = static_cast<std::size_t>(where - begin);
        out.why = why;
        return bad;
    };

    // The name, up to the colon.
    const char* const name = at;
    std::uint8_t seen = 0;
    while (at != end && (bytes::class_of(*at) & bytes::token) != 0) {
        seen |= bytes::class_of(*at);
        ++at;
    }
    if (at == end) {
        return more;
    }
    if (*at != ':') {
        if (*at == '\r' && at == name) {
            if (at + 1 == end) {
                return more;
            }
            if (at[1] == '\n') {
                out.next = from + 2;
                return blank;
            }
        }
        if (*at == ' ' || *at == '\t') {
            return bad_at(
                at,
                at == name ? "white space before the name: folded lines are not accepted"
                           : "white space in or behind a name"
            );
        }
        if (static_cast<unsigned char>(*at) < 0x20 || *at == 0x7f) {
            return bad_at(at, control_problem(*at));
        }
        return bad_at(at, "a byte that no field name may hold");
    }
    if (at == name) {
        return bad_at(at, "a field without a name");
    }
    out.found.name = {name, static_cast<std::size_t>(at - name)};
    out.underscore = (seen & bytes::underscore) != 0;

    // The value, up to CR LF.
    ++at;
    while (at != end && (*at == ' ' || *at == '\t')) {
        ++at;
    }
    const char* const value = at;
    at = bytes::find_control(at, end);
    while (at != end && *at == '\t') {
        at = bytes::find_control(at + 1, end);
    }
    if (at == end) {
        return more;
    }
    if (*at == '\r') {
        if (at + 1 == end) {
            return more;
        }
    }
    if (*at != '\r' || at[1] != '\n') {
        return bad_at(at, control_problem(*at));
    }
    out.next = static_cast<std::size_t>(at - begin) + 2;
    while (at != value && (at[-1] == ' ' || at[-1] == '\t')) {
        --at;
    }
    out.found.value = {value, static_cast<std::size_t>(at - value)};
    return field;
}

// A plain decimal length: digits only, no leading zero, at most 18 digits.  source  RFC 9110 section 8.6
[[nodiscard]] inline bool parse_length(std::string_view text, std::uint64_t& out)
{
    if (text.empty() || text.size() > 18 || (text.size() > 1 && text.front() == '0')) {
        return false;
    }
    std::uint64_t value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') {
            return false;
        }
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
    }
    out = value;
    return true;
}

} // namespace gw::wire
