// The warm bridge's decisions: which sleeping endpoints are being woken, when the next waking request goes
// out, and when to stop. A waking request is a GET of the health route, never a client's request.
//
// An endpoint is whatever lies behind one origin and base path (`place_of`), however many names, models and
// tasks the policy has for it. It is
//   asleep     nobody wakes it: it was ready, or nobody wanted it any more; the next request finds out
//   working    one waker asks it: one waking request at a time, one a second at most
//   by_itself  its health route tells nothing (a token that is refused, no such route): requests probe it
//   given_up   it was asked for its whole `wake_timeout` and did not start: for as long its 503 means that
//              it is broken
//
// One per process; every function may be called from any thread. Only requests that meet a sleeping endpoint
// come here. Bounded by the policy: keep() forgets what it no longer names. No I/O, no clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace gw::dispatch {

class waking
{
public:
    using time_point = std::chrono::steady_clock::time_point;
    using milliseconds = std::chrono::milliseconds;

    static constexpr std::chrono::seconds between{1};   // two waking requests begin no closer than this
    static constexpr std::chrono::seconds unwanted{60}; // nobody asked for it so long: the waker stops
    // How long one waking request is held (X-Scale-Up-Timeout): load balancers cut silence at 60 s.
    static constexpr std::chrono::seconds hold{55};
    static constexpr unsigned most_silent = 5; // waking requests in a row that got no answer
    // A 503 so soon behind a health route that said ready: the same start still goes on.
    static constexpr std::chrono::seconds same_start{60};

    // How a request stands that met a sleeping endpoint.
    enum class start : std::uint8_t {
        begun,     // from now on one waker works
        joined,    // one does already
        by_itself, // no waker helps here
        given_up   // it is not sleeping but broken
    };

    // What a waking request came to.
    enum class heard : std::uint8_t {
        ready,    // 2xx
        not_yet,  // it still starts: 408, 429, 5xx, or the hold passed without an answer
        paused,   // it never wakes by itself
        refused,  // the token was
        no_route, // what answered does not say how it is: another 4xx, a redirect
        silent,   // refused, reset, no HTTP
    };
    [[nodiscard]] static heard hear(int status, bool paused);

    // Why a waker stopped. `by_itself` and `no_route` leave the endpoint to probes by requests.
    enum class end : std::uint8_t { ready, unwanted, paused, refused, no_route, unreachable, given_up, gone };
    static constexpr std::size_t ends = 8;
    [[nodiscard]] static std::string_view to_string(end value);

    struct step
    {
        // Send a waking request that may be held so long, with the token of this number.
        std::optional<std::chrono::seconds> ask;
        std::size_t token = 0;
        std::optional<end> stop;
        bool working = true; // false: there is nothing to do any more
    };

    // Whether begin() would not wake it.
    [[nodiscard]] std::optional<start> refuses(std::uint64_t place, time_point now) const;

    // A request met `place` asleep. `limit` > 0: how long a start may take; `tokens`: how many it has, 1 for
    // none.
    [[nodiscard]] start
    begin(std::uint64_t place, std::string_view name, milliseconds limit, std::size_t tokens, time_point now);

    // A request would have gone there if it were awake.
    void want(std::uint64_t place, time_point now);

    // A request was answered there: what was given up starts anew with the next 503.
    void works(std::uint64_t place);

    // What its waker does now. A step with `ask` counts as asked, and heard_of() must follow.
    [[nodiscard]] step next(std::uint64_t place, time_point now);

    // The waking request's outcome; `wait`: not asked again before (Retry-After). Then next() again.
    void heard_of(std::uint64_t place, heard what, milliseconds wait, time_point now);

    // The policy names these: wakers of others stop at their next step.
    void keep(const std::unordered_set<std::uint64_t>& places);

    struct view
    {
        std::string upstream;
        bool working = false;
        std::uint64_t asked = 0;  // waking requests
        milliseconds took{};      // of all starts that came to `ready`, together
        milliseconds last_took{}; // of the last one
        std::uint64_t ended[ends]{};
    };
    [[nodiscard]] std::vector<view> now() const;

private:
    struct endpoint
    {
        view told;
        milliseconds limit{};
        std::size_t tokens = 1;
        std::size_t token = 0;          // the one in use
        std::size_t tokens_refused = 0; // in a row
        bool asking = false;
        bool named = true;
        unsigned silent = 0; // in a row
        time_point wanted = time_point::min();
        time_point not_before = time_point::min(); // of the next waking request
        time_point began = time_point::min();      // this start, which earlier wakers may have seen, too
        time_point worked = time_point::min();     // since then the present waker works
        time_point ended = time_point::min();
        time_point by_itself_until = time_point::min();
        time_point given_up_until = time_point::min();
        std::optional<end> stop; // to be told by next()
    };
    [[nodiscard]] step stop(endpoint& it, end why, time_point now);

    mutable std::mutex lock_;
    std::unordered_map<std::uint64_t, endpoint> known_;
};

} // namespace gw::dispatch
