// One request's way through its candidates: which one now, with which token, or how long to wait, or what to
// tell the client. A pure state machine; the dispatch coroutine does what it says:
//
//   next() -> try_it    connect, then sending() right before the first byte of the head (false: give the
//   connection back and
//                       ask next() again), then content() at the first content, then told() at the end
//          -> wait_for  sleep until `until` or until wake was called, then next() again
//          -> give_up   answer the client with it
//   left() whenever the client goes away, out_of_time() when the deadline ends an attempt, skip() when the
//   adapter refuses what next() proposed.
//
// Owned by the request's coroutine, used on its thread only. Slots and probes are given back when it goes.
// What it promises:
// - A POST of which one byte was written goes to the same upstream again only if that upstream refused it
// with
//   rate_limited, out_of_credits, token_rejected or warming. To another upstream only if its outcome is in
//   `fallback.on`.
// - A connect failure may go anywhere, and back to the same upstream after a short pause when nobody else is
// left.
// - The next token of the pool belongs to the same attempt; everything else counts, up to
// `fallback.attempts`.
// - After content() nothing is ever sent again.
#pragma once

#include "config/settings.hpp"
#include "dispatch/last_answer.hpp"
#include "dispatch/reason.hpp"
#include "dispatch/standing.hpp"
#include "message/boxed.hpp"
#include "message/failure.hpp"
#include "message/outcome.hpp"
#include "policy/decide.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace gw::dispatch {

struct attempt_options
{
    time_point deadline = time_point::max(); // of the request, steady clock
    bool body_whole = true;                  // only such a request may be a probe
    std::uint64_t random = 0;                // spreads the pauses before a repeated connect
    // Makes what is called once for a wait_for that says so, from any thread and perhaps after this request
    // is gone: it must only post something that finds out by itself whether somebody still waits.
    std::function<std::function<void()>()> waker;
};

// One line of the story: an exchange, or a candidate that was not tried.
struct story_entry
{
    const config::upstream* to = nullptr;
    const config::token* with = nullptr; // null: none needed, or not tried
    int status = 0;                      // the upstream's; 0: there was none
    std::optional<outcome> what;         // of an exchange that is over
    std::optional<reason> skipped;       // why it was not tried, or not finished
    bool probe = false;
    time_point began;
    std::chrono::milliseconds took{};
    std::uint64_t bytes_out = 0; // filled in by the caller through current()
    std::uint64_t bytes_in = 0;
};

class attempts
{
public:
    struct try_it
    {
        std::size_t candidate = 0;
        const config::token* with = nullptr;
        bool probe = false;
    };
    struct wait_for
    {
        time_point until;   // ask again then, whatever happens
        bool woken = false; // its wake may come earlier
        bool body = false;  // ask again when the body has become whole, too
    };
    struct give_up
    {
        failure last; // the most hopeful one; Retry-After set where waiting helps
    };
    using next_step = std::variant<try_it, wait_for, give_up>;

    // REQUIRES plan, its settings and `now` (the process's standing) outlive this.
    attempts(const policy::plan& plan, standing& now, attempt_options options);
    ~attempts();
    attempts(const attempts&) = delete;
    attempts& operator=(const attempts&) = delete;

    // REQUIRES no attempt is in progress.
    [[nodiscard]] next_step next(time_point now);

    // The candidate that next() proposed cannot be asked after all (its adapter cannot encode this, the
    // client may not have it), or never will be; `why` is what the client gets when nobody else answers.
    void skip(std::size_t candidate, reason because, failure why);

    // Right before the first byte of the head. False: too late to be the probe; write nothing and call
    // next(). Always true for the further exchanges of a conversation.
    [[nodiscard]] bool sending(time_point now);

    // First content of a good answer: from here on nothing is sent again, and what was probed works.
    void content(int status, time_point now);

    // What the attempt came to. An `ok` needs no content() before. Ignored when sending() or skip() ended it
    // already.
    void told(const verdict& what, time_point now, wall_time wall);

    // The client went away, or the gateway stops: nobody's failure, and the end.
    void left(time_point now, reason why = reason::client_gone);
    void out_of_time(time_point now); // the request's deadline ended the attempt: nobody's failure

    void body_arrived() { body_whole_ = true; } // it is whole now: this request may be a probe
    void body_dropped() { sendable_ = false; }  // no copy is left: after a first byte nothing more is sent
    void set_deadline(time_point when) { options_.deadline = when; }
    [[nodiscard]] time_point deadline() const { return options_.deadline; }

    // The attempt in progress may still be followed by another one.
    [[nodiscard]] bool may_fall_back() const;
    // Another upstream, or another token of this one's pool, might still be asked: the body is worth keeping.
    [[nodiscard]] bool another_candidate_left() const;

    // `router(429) router(200)`, `router(no_token) vit-prod(200)`: as far as it is known.
    [[nodiscard]] std::string route() const;
    [[nodiscard]] const std::vector<story_entry>& story() const { return story_; }
    // The exchange in progress, for its byte counts; null: none.
    [[nodiscard]] story_entry* current();

private:
    struct seat // one candidate
    {
        bool out = false;                          // never tried again
        bool tried = false;                        // an exchange with it is over
        std::optional<reason> noted;               // why it was skipped, as it stands in the story
        std::uint8_t connects = 0;                 // failed ones
        std::vector<const config::token*> refused; // in the present attempt
        time_point not_before = time_point::min(); // a pause of this request's own
        boxed<verdict> last;                       // bad ones
        boxed<failure> skipped;
        slots::ticket slot;
        slots::ticket news;
    };
    struct exchange // in progress
    {
        std::size_t candidate = 0;
        const config::token* with = nullptr;
        probe_id probe = 0;
        bool retry = false; // the budget counts it
        bool same = false;  // the next token of the pool: no attempt of its own
        bool written = false;
        time_point began;
        time_point sent;
        slots::lease slot;
    };
    struct obstacle // why a candidate cannot be asked now
    {
        std::size_t candidate = 0;
        reason why = reason::cooling;
        std::optional<block> resting; // it is free later
        bool slot = false;            // it is free when a slot is
    };
    enum class take : std::uint8_t { first, next_token };

    [[nodiscard]] subject subject_of(std::size_t candidate, const config::token* with) const;
    [[nodiscard]] std::variant<exchange, obstacle>
    consider(std::size_t candidate, take which, time_point now);
    [[nodiscard]] try_it begin(exchange what, time_point now);
    [[nodiscard]] std::optional<wait_for>
    wait(const std::vector<obstacle>& blocked, time_point now, bool& look_again);
    [[nodiscard]] give_up end(std::optional<reason> because, time_point now);
    void note(std::size_t candidate, reason why, time_point now);
    void take_back(exchange& what);              // it will not be sent
    void settle(exchange& what, time_point now); // it is over: times, budget
    void leave_queues();
    void spend(const config::upstream* to);
    [[nodiscard]] bool stops(const obstacle& here) const;
    [[nodiscard]] std::chrono::nanoseconds pause(unsigned times);

    // Constant after construction.
    const policy::plan& plan_;
    standing& standing_;
    const config::fallback& fallback_;

    attempt_options options_;
    bool body_whole_;
    bool sendable_ = true;             // the body can be read (again)
    bool written_ = false;             // some upstream got a byte of it
    bool committed_ = false;           // content went to the client
    bool stopped_ = false;             // nothing but the next token may be tried
    bool over_ = false;                // nothing at all
    std::uint32_t used_ = 0;           // attempts so far
    boxed<failure> final_;             // of an outcome that ends the request at once
    std::optional<std::size_t> again_; // the next token of this candidate goes first
    std::optional<time_point> resting_since_;
    std::chrono::nanoseconds rested_{}; // waited for cooldowns and probes, against max_wait
    std::vector<seat> seats_;
    std::vector<story_entry> story_;
    std::optional<exchange> now_;
};

} // namespace gw::dispatch
