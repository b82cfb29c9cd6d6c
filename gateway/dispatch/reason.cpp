#include "dispatch/reason.hpp"

namespace gw::dispatch {

std::string_view to_string(reason value)
{
    switch (value) {
    case reason::no_token:
        return "no_token";
    case reason::cooling:
        return "cooling";
    case reason::probing:
        return "probing";
    case reason::warming:
        return "warming";
    case reason::full:
        return "full";
    case reason::budget:
        return "budget";
    case reason::deadline:
        return "deadline";
    case reason::forbidden:
        return "forbidden";
    case reason::unsupported:
        return "unsupported";
    case reason::out_of_credits:
        return "out_of_credits";
    case reason::token_rejected:
        return "token_rejected";
    case reason::too_large:
        return "too_large";
    case reason::unavailable:
        return "unavailable";
    case reason::timeout:
        return "timeout";
    case reason::client_gone:
        return "client_gone";
    case reason::stopping:
        return "stopping";
    }
    return "cooling";
}

reason reason_for(outcome why)
{
    switch (why) {
    case outcome::out_of_credits:
        return reason::out_of_credits;
    case outcome::token_rejected:
        return reason::token_rejected;
    case outcome::warming:
        return reason::warming;
    case outcome::unsupported:
        return reason::unsupported;
    case outcome::too_large:
        return reason::too_large;
    case outcome::ok:
    case outcome::rate_limited:
    case outcome::unavailable:
    case outcome::timeout:
    case outcome::rejected:
    case outcome::broken_stream:
        break;
    }
    return reason::cooling;
}

} // namespace gw::dispatch
