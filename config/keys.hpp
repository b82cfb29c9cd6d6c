// Every key that a policy file knows, section by section. What is not listed here is an unknown key;
// `known_keys()` and the test over config/examples/ read the same lists.
#pragma once

#include <array>
#include <string_view>

namespace gw::config::keys {

using name = std::string_view;

inline constexpr auto top = std::to_array<name>(
    {"listen", "admin", "tokens", "upstreams", "models", "clients", "limits", "spool", "hub"}
);
inline constexpr auto listener = std::to_array<name>({"address", "tls"});
inline constexpr auto tls = std::to_array<name>({"certificate", "key"});
inline constexpr auto admin = std::to_array<name>({"address", "key"});
inline constexpr auto token = std::to_array<name>({"secret", "bill_to"});

// Of upstreams: of every kind, of a URL, of an engine, of an endpoint that may sleep, of an own process, of a
// Space.
inline constexpr auto any_upstream = std::to_array<name>(
    {"kind", "token", "tokens", "payload", "timeout", "max_in_flight", "max_waiting", "models"}
);
inline constexpr auto remote = std::to_array<name>({"url", "ca_file", "proxy", "insecure_http"});
inline constexpr auto engine = std::to_array<name>({"engine", "request", "answer", "path"});
inline constexpr auto probe = std::to_array<name>({"health"});
inline constexpr auto waking = std::to_array<name>({"wake_timeout"});
inline constexpr auto worker =
    std::to_array<name>({"command", "ready", "idle_stop", "start_timeout", "stop_timeout", "env"});
inline constexpr auto space = std::to_array<name>({"space", "api_name"});

inline constexpr auto timeout = std::to_array<name>({"connect", "first_byte", "idle", "total"});
inline constexpr auto model = std::to_array<name>({"task", "aliases", "route", "fallback"});
inline constexpr auto route = std::to_array<name>({"upstream", "model", "provider", "weight"});
inline constexpr auto fallback = std::to_array<name>({"on", "attempts", "deadline", "max_wait"});
inline constexpr auto client = std::to_array<name>({"keys", "models"});
inline constexpr auto limits = std::to_array<name>({
    "header_bytes",
    "header_fields",
    "target_bytes",
    "payload_bytes",
    "json_bytes",
    "json_depth",
    "json_tokens",
    "response_header_bytes",
    "response_header_fields",
    "response_interim",
    "header_timeout",
    "body_grace",
    "body_min_rate",
    "idle_timeout",
    "write_timeout",
    "connections",
    "connections_per_client",
    "pre_stop",
    "drain",
    "half_close",
    "waiting_comment",
});
inline constexpr auto spool = std::to_array<name>({"dir", "memory_per_body", "memory", "disk"});
inline constexpr auto hub = std::to_array<name>({"url", "token", "cache", "ca_file", "proxy"});

} // namespace gw::config::keys
