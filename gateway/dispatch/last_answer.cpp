#include "dispatch/last_answer.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

namespace gw::dispatch {
namespace {

using std::chrono::seconds;

// Less is more hopeful.
enum hope : int {
    waiting_helps,
    timed_out,
    unavailable,
    no_credits,
    no_token,
    too_large,
    unsupported,
    other
};

hope hope_of(outcome what)
{
    switch (what) {
    case outcome::rate_limited:
    case outcome::warming:
        return waiting_helps;
    case outcome::timeout:
        return timed_out;
    case outcome::unavailable:
    case outcome::broken_stream:
        return hope::unavailable;
    case outcome::out_of_credits:
        return no_credits;
    case outcome::token_rejected:
        return hope::no_token;
    case outcome::too_large:
        return hope::too_large;
    case outcome::unsupported:
        return hope::unsupported;
    case outcome::ok:
    case outcome::rejected:
        break;
    }
    return other;
}

seconds at_least_one(std::chrono::nanoseconds left)
{
    return std::max(seconds(1), std::chrono::ceil<seconds>(left));
}

std::string_view said_of(outcome why)
{
    switch (why) {
    case outcome::rate_limited:
        return "is rate limited";
    case outcome::out_of_credits:
        return "has no credits left for its token";
    case outcome::token_rejected:
        return "rejects its token";
    case outcome::warming:
        return "is starting";
    case outcome::timeout:
        return "timed out several times";
    case outcome::unsupported:
        return "does not have this model for this task";
    case outcome::too_large:
        return "does not take a payload of this size";
    case outcome::broken_stream:
        return "broke off several answers";
    case outcome::ok:
    case outcome::unavailable:
    case outcome::rejected:
        break;
    }
    return "failed several times";
}

} // namespace

failure to_failure(const config::upstream& by, const verdict& what)
{
    failure made{
        .what = what.as_code.value_or(to_code(what.what)),
        .from = what.what == outcome::rejected ? origin::client : origin::upstream,
        .text = what.text,
        .detail = what.detail,
        .error_type = what.error_type,
    };
    if (what.what == outcome::rejected) {
        // The client's own fault has the upstream's own status and words.
        made.status = what.status >= 400 && what.status < 500 ? what.status : 400;
    }
    if (made.text.empty()) {
        made.text = "upstream " + by.name;
        made.text += what.status != 0 ? " answered " + std::to_string(what.status) : " did not answer";
    }
    if (what.what == outcome::token_rejected) {
        // Whoever runs the gateway repairs it there.
        const std::string entry = "`upstreams." + by.name + "` of the gateway's policy";
        made.text = by.tokens.empty() ? "the upstream asks for a token, and " + entry + " has no `token:`"
                                      : made.text + "; it is a `token:` of " + entry;
    }
    if (hope_of(what.what) == waiting_helps || made.what == code::overloaded) {
        made.retry_after = at_least_one(what.retry_after.value_or(seconds(1)));
    }
    return made;
}

void last_answer::offer(int hope, failure what)
{
    const bool sooner =
        best_ && hope == hope_ && hope == waiting_helps && what.retry_after < best_->retry_after;
    if (!best_ || hope < hope_ || sooner) {
        best_ = std::move(what);
        hope_ = hope;
    }
}

void last_answer::told(const config::upstream& by, const verdict& what, std::chrono::nanoseconds left)
{
    failure made = to_failure(by, what);
    if (made.retry_after) {
        made.retry_after = at_least_one(left);
    }
    offer(hope_of(what.what), std::move(made));
}

void last_answer::resting(const config::upstream& by, const block& why, std::chrono::nanoseconds left)
{
    const hope kind = hope_of(why.because);
    failure made{.what = to_code(why.because), .from = origin::upstream};
    made.text = "upstream " + by.name + " " + std::string(said_of(why.because));

    // Whatever it failed of, its time ends and it is tried again: come back then. Credits, tokens and missing
    // models are nothing that a client can wait for.
    if (kind == waiting_helps || kind == timed_out || kind == hope::unavailable) {
        const seconds after = at_least_one(left);
        made.status = 429;
        made.retry_after = after;
        const std::string when = " in " + std::to_string(after.count()) + " s";
        made.text += why.waking                      ? "; the gateway wakes it: ask again" + when
                     : why.probing || why.wants_body ? "; another request is finding out whether it is back"
                                                     : "; it is asked again" + when;
        offer(waiting_helps, std::move(made));
        return;
    }
    offer(kind, std::move(made));
}

void last_answer::full(const config::upstream& by)
{
    offer(
        waiting_helps,
        failure{
            .what = code::overloaded,
            .from = origin::gateway,
            .text = "upstream " + by.name +
                    " has as many requests as it takes, and as many wait for it (its `max_in_flight` and "
                    "`max_waiting` in the policy)",
            .retry_after = seconds(1),
        }
    );
}

void last_answer::no_token(const config::upstream& by)
{
    offer(
        hope::no_token,
        failure{
            .what = code::token_rejected,
            .from = origin::gateway,
            .text = "upstream " + by.name + " is off: none of its tokens has a value on this gateway",
        }
    );
}

void last_answer::skipped(failure why)
{
    const hope kind = why.what == code::unsupported ? hope::unsupported
                      : why.what == code::too_large ? hope::too_large
                                                    : other;
    offer(kind, std::move(why));
}

void last_answer::deadline()
{
    offer(
        timed_out,
        failure{
            .what = code::timeout,
            .from = origin::gateway,
            .text = "no upstream answered within the request's deadline",
        }
    );
}

failure last_answer::best() const
{
    if (best_) {
        return *best_;
    }
    return failure{
        .what = code::unavailable,
        .from = origin::gateway,
        .text = "no upstream could be asked for this model"
    };
}

} // namespace gw::dispatch
