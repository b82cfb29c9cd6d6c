#include "message/outcome.hpp"

#include <array>

namespace gw {
namespace {

constexpr std::array<std::string_view, outcome_count> names{
    "ok",
    "rate_limited",
    "out_of_credits",
    "token_rejected",
    "warming",
    "unavailable",
    "timeout",
    "unsupported",
    "too_large",
    "rejected",
    "broken_stream"
};

} // namespace

std::string_view to_string(outcome value)
{
    return names[static_cast<std::size_t>(value)];
}

std::optional<outcome> parse_outcome(std::string_view name)
{
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (names[i] == name) {
            return static_cast<outcome>(i);
        }
    }
    return std::nullopt;
}

code to_code(outcome value)
{
    switch (value) {
    case outcome::rate_limited:
        return code::rate_limited;
    case outcome::out_of_credits:
        return code::out_of_credits;
    case outcome::token_rejected:
        return code::token_rejected;
    case outcome::warming:
        return code::warming;
    case outcome::timeout:
        return code::timeout;
    case outcome::unsupported:
        return code::unsupported;
    case outcome::too_large:
        return code::too_large;
    case outcome::rejected:
        return code::rejected;
    case outcome::broken_stream:
        return code::broken_stream;
    case outcome::ok:
    case outcome::unavailable:
        break;
    }
    return code::unavailable;
}

} // namespace gw
