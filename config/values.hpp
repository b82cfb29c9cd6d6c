// The scalars of a policy: durations, sizes, URLs, addresses, JSON Pointers, names. Pure. A failure is a text
// that says what would be right, to be put behind the value's path.
#pragma once

#include "config/settings.hpp"

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace gw::config {

template <class T>
using parsed = std::expected<T, std::string>;

// `250ms`, `30s`, `5m`, `1h`; `0` needs no unit. At most 10,000 h.
[[nodiscard]] parsed<std::chrono::milliseconds> parse_duration(std::string_view text);

// Bytes: `1000`, `256KiB`, `10MiB`, `4GiB`. At most 1 TiB.
[[nodiscard]] parsed<std::uint64_t> parse_size(std::string_view text);

[[nodiscard]] parsed<std::uint64_t> parse_count(std::string_view text);

// `http://` or `https://`, a host, perhaps a port and a path; no user name, query or fragment. Source: RFC
// 3986.
[[nodiscard]] parsed<url> parse_url(std::string_view text);

// `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`.
[[nodiscard]] parsed<address> parse_address(std::string_view text);

// `http://HOST:PORT`, an HTTP CONNECT proxy.
[[nodiscard]] parsed<std::string> parse_proxy(std::string_view text);

// Source: RFC 6901. The empty pointer is the whole document.
[[nodiscard]] parsed<std::string> parse_pointer(std::string_view text);

// A path that goes into a request line: begins with `/`, visible ASCII.
[[nodiscard]] parsed<std::string> parse_route(std::string_view text);

// A name that goes into headers, records and metrics: letters, digits, `.`, `_`, `-`, at most 64.
[[nodiscard]] bool is_name(std::string_view text);
inline constexpr std::string_view name_rule = "not a name; use letters, digits, `.`, `_` and `-`, at most 64";

// A model's name, Hub id or not: visible ASCII without quotes and backslashes, at most 256, no segment `.` or
// `..`.
[[nodiscard]] bool is_model_name(std::string_view text);

// A host (without brackets) that never leaves this machine: localhost, 127.0.0.0/8, ::1.
[[nodiscard]] bool is_loopback(std::string_view host);

// True when the name matches: `*` stands for any characters, `/` included.
[[nodiscard]] bool matches(std::string_view pattern, std::string_view name);

} // namespace gw::config
