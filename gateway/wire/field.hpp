// What request heads and response heads share: fields as views into the scanned bytes, framing, limits.
// Pure values, any thread. Sources: RFC 9110 sections 5.1 and 5.5, RFC 9112 sections 5 and 6.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gw::wire {

// One header line. Both are views into the scanned bytes; the value has no optional white space around it.
struct field
{
    std::string_view name; // as it was written; compare with same_name()
    std::string_view value;
};

// How the end of the body is found. until_close happens in responses only.
enum class framing : std::uint8_t { none, sized, chunked, until_close };

struct head_limits
{
    std::size_t max_bytes = 32 * 1024; // the whole head, blank line included; over it: header_too_large
    std::size_t max_fields = 100;      // header_too_large
    std::size_t max_target = 8 * 1024; // target_too_long; requests only
};
inline constexpr head_limits response_limits{.max_bytes = 64 * 1024, .max_fields = 200, .max_target = 0};

// ASCII case-insensitive comparison of field names, methods and codings; never locale dependent.
[[nodiscard]] bool same_name(std::string_view a, std::string_view b);

// The first field of this name, else an empty view with data() == nullptr.
[[nodiscard]] std::string_view find_field(const std::vector<field>& fields, std::string_view name);

// Whether a comma-separated list (Connection, Accept-Encoding ...) holds this token; parameters after `;` are
// ignored.
[[nodiscard]] bool list_holds(std::string_view list, std::string_view token);

// Whether the bytes are a field name (RFC 9110 token), and whether they may stand in a field value: visible
// bytes,
// >= 0x80, inner spaces and tabs; no CR, LF, NUL nor other control bytes. The one check before a value that
// came from elsewhere is written into a head of ours.
[[nodiscard]] bool valid_name(std::string_view name);
[[nodiscard]] bool valid_value(std::string_view value);

// A host with an optional port as Host and absolute-form targets carry it: a DNS name, an IPv4 address or a
// bracketed IPv6 address, then at most `:0..65535`. No user info, no list, no white space, not empty.
[[nodiscard]] bool valid_authority(std::string_view authority);

} // namespace gw::wire
