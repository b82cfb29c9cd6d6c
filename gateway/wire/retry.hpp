// When to come back, as headers say it. Pure: the present time is an argument.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gw::wire {

// Waits beyond this are believed to be this.
inline constexpr std::chrono::hours longest_wait{31 * 24};

// Retry-After: seconds (`12`, also `1.5` as some send it) or a date of RFC 9110 section 5.6.7 (IMF-fixdate,
// RFC 850, asctime).
//   returns  the wait from now, between 0 (a date that has passed) and longest_wait; nullopt for anything
//   else
[[nodiscard]] std::optional<std::chrono::milliseconds>
retry_after(std::string_view value, std::chrono::system_clock::time_point now);

// RateLimit: "bucket";r=remaining;t=seconds  (draft-ietf-httpapi-ratelimit-headers, as the Hugging Face Hub
// sends it).
struct rate_limit
{
    std::string bucket;
    std::uint64_t remaining = 0;
    std::chrono::seconds reset{0}; // at most longest_wait
};

// The first item of the field; parameters in any order, others ignored, blanks around `;` and `=` allowed.
//   returns  nullopt if there is no name or `r` or `t` is missing or no number
[[nodiscard]] std::optional<rate_limit> parse_rate_limit(std::string_view value);

// IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
[[nodiscard]] std::string http_date(std::chrono::system_clock::time_point when);

} // namespace gw::wire
