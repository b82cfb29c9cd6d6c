// Why a candidate was not tried: what stands in the parentheses of `x-fourways-route` when there is no
// status.
#pragma once

#include "message/outcome.hpp"

#include <cstdint>
#include <string_view>

namespace gw::dispatch {

enum class reason : std::uint8_t {
    no_token,  // every token of the upstream is empty
    cooling,   // rate limited, failed several times in a row, or timed out; its time is not over
    probing,   // the time is over, and one other request finds out whether it works again
    warming,   // it starts: a worker, a scaled-down endpoint, a sleeping Space
    full,      // max_in_flight (or what it was learned to bear) is in use
    budget,    // it failed in the last seconds, and enough requests repeat themselves already
    deadline,  // the request's time was over first
    forbidden, // this client may not have it
    // The outcome that skips it, told earlier to this or another request:
    unsupported,
    out_of_credits,
    token_rejected,
    too_large,
    unavailable,
    timeout,
    client_gone, // the client left meanwhile
    stopping,    // the gateway was stopped meanwhile
};

[[nodiscard]] std::string_view to_string(reason value);

// How a resting candidate is called while it rests because of `why`.
[[nodiscard]] reason reason_for(outcome why);

} // namespace gw::dispatch
