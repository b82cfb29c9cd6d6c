// Which of several failures the client gets: the most hopeful one, so that a client that can be helped by
// waiting is told so. Pure.
#pragma once

#include "config/settings.hpp"
#include "dispatch/cooldowns.hpp"
#include "dispatch/reason.hpp"
#include "message/failure.hpp"
#include "message/outcome.hpp"

#include <chrono>
#include <optional>
#include <string>

namespace gw::dispatch {

// Collects what became of the candidates. Order of hope: waiting helps (429, the smallest Retry-After of
// all), timeout, unavailable, out_of_credits, token_rejected or no token, too_large, unsupported, everything
// else. Of equal ones the first.
class last_answer
{
public:
    // An answer, or its absence. `left`: so long waiting helps, where it helps.
    void told(const config::upstream& by, const verdict& what, std::chrono::nanoseconds left);
    // It rests, warms or is probed, and was not asked; free in `left` (never told as less than a second).
    void resting(const config::upstream& by, const block& why, std::chrono::nanoseconds left);
    // Its slots are in use, and so are the seats of those who wait for them.
    void full(const config::upstream& by);
    void no_token(const config::upstream& by);
    // Refused by its adapter or the policy, in those words.
    void skipped(failure why);
    // The request's time was over.
    void deadline();

    // The failure to tell. Nothing was collected: `unavailable`.
    [[nodiscard]] failure best() const;

private:
    void offer(int hope, failure what);

    std::optional<failure> best_;
    int hope_ = 0;
};

// A verdict that is not ok, as the client sees it.
[[nodiscard]] failure to_failure(const config::upstream& by, const verdict& what);

} // namespace gw::dispatch
