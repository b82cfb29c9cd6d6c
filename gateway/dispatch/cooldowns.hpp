// What is skipped for a while, and the one request that finds out whether it works again.
//
// A mark says something about a key: (token, upstream, model), (token, upstream), (token on every serverless
// upstream), (token everywhere), (upstream, model, task) or (upstream). Keys hold the hash of the secret, the
// origin and its base path, so a rotated secret starts clean and a renamed token does not. A mark is, in this
// order,
//   counting   some failures in a row, not yet enough; blocks nobody
//   cooling    until a time; blocks everybody
//   ended      the time is over: the first who claims it is the probe, the others stay blocked (`probing`)
//   until the probe's
//              outcome, or until it has taken 5 s
//   held       a waker works on it (waking.hpp): blocks everybody, whatever the time, and nobody probes
//   gone       after a success of somebody who was sent after the time was over, or unwanted for 5 minutes
//
// One per process; every function may be called from any thread. While no mark has a key of
// theirs, look(), claim() and learn() of a success take no lock: they read relaxed counters (a mark that
// another core made a moment ago may be missed once). Bounded: the least recently used mark goes first. No
// I/O, no clock.
#pragma once

#include "config/settings.hpp"
#include "dispatch/reason.hpp"
#include "message/outcome.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace gw::dispatch {

using time_point = std::chrono::steady_clock::time_point;
using wall_time = std::chrono::system_clock::time_point;

// Whom an attempt concerns. Views and pointers are used during the call only.
struct subject
{
    const config::upstream* to = nullptr;
    const config::token* with = nullptr; // null: it needs none
    std::string_view model;              // its name there
    const task_info* task = nullptr;
};

// What rests together: everything behind one origin and base path, whatever the policy calls it (one host may
// carry several services). A worker is a process for each model, and an upstream whose host is not known yet
// is only itself. Never 0.
[[nodiscard]] std::uint64_t place_of(const config::upstream& to, std::string_view model);

// Why somebody must not be sent now.
struct block
{
    outcome because = outcome::unavailable;
    bool probing = false;    // the time is over; `until` is when the present probe's time is
    bool wants_body = false; // it could be the probe if its body were whole
    bool waking = false;     // a waker works on it; `until` is only when to look again
    time_point until;

    [[nodiscard]] reason why() const { return probing || wants_body ? reason::probing : reason_for(because); }
};

// Names one probe; 0 is none.
using probe_id = std::uint64_t;

struct admission
{
    std::optional<block> blocked;
    probe_id probe = 0; // not 0: this request is the probe, and owes give_back() or learn()
};

// What an attempt came to, and when its first byte was written: evidence of requests that were under way
// before a cooldown began neither ends nor lengthens the back-off.
struct evidence
{
    const verdict& what;
    time_point sent;
    probe_id probe = 0;
};

// One mark as metrics and `explain` see it.
struct cooldown_view
{
    scope where = scope::none;
    std::string upstream;
    std::string token;
    std::string model;
    const task_info* task = nullptr;
    outcome why = outcome::unavailable;
    std::chrono::milliseconds remaining{}; // zero: over, waiting for a probe
    unsigned failures = 0;                 // in a row
    bool probing = false;
    std::chrono::milliseconds unwanted{}; // since somebody asked for it last
};

class cooldowns
{
public:
    static constexpr unsigned failures_in_a_row = 5;                  // then an upstream rests ...
    static constexpr std::chrono::milliseconds first_back_off{1'000}; // ... so long, nothing rests for less;
    static constexpr std::chrono::milliseconds longest_back_off{60'000}; // where a probe costs, up to this
    static constexpr std::chrono::minutes first_doubt{1};    // credits, rejected tokens: doubles ...
    static constexpr std::chrono::minutes longest_doubt{60}; // ... up to this
    static constexpr std::chrono::minutes unsupported_for{10};
    static constexpr std::chrono::hours unsupported_for_good{24};
    static constexpr std::chrono::seconds probe_time{5};
    static constexpr std::chrono::seconds recent{10
    }; // a failure within it makes a second attempt there count as a retry
    static constexpr std::chrono::hours longest{24 * 31};
    static constexpr std::chrono::seconds waking_look{5}; // how often a request looks at what is being woken

    explicit cooldowns(std::size_t capacity = 4096);

    // Whether `who` is blocked. Changes nothing. A mark whose time is over and that nobody probes blocks
    // nobody here.
    [[nodiscard]] std::optional<block> look(const subject& who, time_point now) const;

    // The same, and takes the probe where one is due.
    //   may_probe   false: the request's body is not whole yet, so a due probe blocks it (wants_body)
    [[nodiscard]] admission claim(const subject& who, bool may_probe, time_point now);

    // The head goes out now: the probe has 5 s from here. False: it took so long to get here that another
    // request is the probe, or found out meanwhile that the cooldown goes on; nothing may be sent.
    [[nodiscard]] bool confirm(const subject& who, probe_id probe, time_point now);

    // The probe ends without an outcome. Returns true if somebody else may probe now.
    bool give_back(const subject& who, probe_id probe);

    // The first content of a good answer: what was probed works, the crowd may follow. Returns true if a
    // block went away.
    bool proven(const subject& who, probe_id probe, time_point sent);

    // What an attempt came to. Returns true if a block was set, changed or taken away.
    //   rests   false: a rate limit without a time is no cooldown, since the upstream was only full
    bool learn(const subject& who, const evidence& seen, bool rests, time_point now, wall_time wall);

    // The upstream itself, or this model and task there, was unavailable or timed out in the last 10 s.
    [[nodiscard]] bool failed_recently(const subject& who, time_point now) const;

    // A waker saw `model` ready there: warming marks of every task go away. Returns true if there was one.
    bool warmed(const config::upstream& to, std::string_view model);

    // A waker works on the whole upstream: nobody is sent there, nobody probes, until warmed() or let_go().
    //   waits   how long the start takes, if that was told
    void hold(const config::upstream& to, std::optional<std::chrono::milliseconds> waits, time_point now);
    // The waker stopped. `asleep`: the next request finds out how it is; else it rests as `unavailable`
    // first.
    void let_go(const config::upstream& to, bool asleep, time_point now);

    [[nodiscard]] std::vector<cooldown_view> view(time_point now) const;
    [[nodiscard]] std::size_t size() const { return size_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t evicted() const { return evicted_.load(std::memory_order_relaxed); }

private:
    // A key with its hash; `model` points into the subject or into the mark.
    struct key
    {
        scope where = scope::none; // none: this subject has no such key
        std::uint64_t token = 0;
        std::uint64_t place = 0; // 0: not of one upstream
        const task_info* task = nullptr;
        std::string_view model;
        std::size_t hash = 0;
        [[nodiscard]] bool operator==(const key& other) const
        {
            return hash == other.hash && where == other.where && token == other.token &&
                   place == other.place && task == other.task && model == other.model;
        }
    };
    struct key_hash
    {
        std::size_t operator()(const key& of) const { return of.hash; }
    };
    struct mark
    {
        std::string model; // what of.model points to
        key of;
        outcome why = outcome::unavailable;
        time_point until = time_point::min(); // min: counting, blocks nobody
        unsigned level = 0;                   // how often the back-off has doubled
        unsigned in_a_row = 0;
        bool held = false; // by a waker
        time_point failed = time_point::min();
        probe_id prober = 0;
        time_point probe_ends = time_point::min();
        // (token, upstream) only: a model that is limited, and until when; a second one widens the limit to
        // all
        std::string limited_model;
        time_point limited_until = time_point::min();
        time_point wanted = time_point::min(); // asked for last
        std::string upstream;
        std::string token;

        [[nodiscard]] bool blocks() const { return held || until != time_point::min(); }
        [[nodiscard]] bool probed(time_point now) const { return prober != 0 && probe_ends > now; }
    };
    using marks = std::list<mark>;
    using keys = std::array<key, 6>;
    using counts = std::array<std::atomic<std::uint16_t>, 16384>;

    // Where a scope's key stands among a subject's keys. REQUIRES at is not none.
    [[nodiscard]] static constexpr std::size_t index_of(scope at) { return static_cast<std::size_t>(at) - 1; }
    [[nodiscard]] static std::atomic<std::uint16_t>& cell(counts& of, std::uint64_t hash)
    {
        return of[hash % std::tuple_size_v<counts>];
    }
    [[nodiscard]] static keys keys_of(const subject& who);
    // Nothing concerns `who`, by its upstream and token alone: the cheap question that comes first.
    [[nodiscard]] bool quiet(const subject& who) const;
    [[nodiscard]] bool quiet(const keys& of) const;

    // All below: REQUIRES lock_ is held.
    [[nodiscard]] mark* find(const key& of) const;
    [[nodiscard]] mark* use(const key& of, time_point now); // the same, as the most recently used one
    [[nodiscard]] std::optional<block> blocking(const keys& of, time_point now) const;
    mark& make(const key& of, const subject& who, time_point now);
    void erase(marks::iterator which);
    void sweep(time_point now);
    bool release(const keys& of, probe_id probe);
    bool succeeded(const key& of, time_point sent, time_point now);
    bool count(const key& of, const subject& who, const evidence& seen, time_point now);
    bool limit(const keys& of, scope where, const subject& who, const evidence& seen, time_point now);

    // Constant after construction.
    const std::size_t capacity_;

    // How many marks there are in all, of this upstream (or, of none: of this token), and with this key, each
    // modulo the size: the answer without a lock.
    std::atomic<std::size_t> size_{0};
    mutable counts near_{};
    mutable counts exact_{};
    std::atomic<std::uint64_t> evicted_{0};

    // By the lock.
    mutable std::mutex lock_;
    marks used_; // most recently used first
    std::unordered_map<key, marks::iterator, key_hash> by_key_;
    marks::iterator hand_; // the sweep's place
    probe_id last_probe_ = 0;
};

} // namespace gw::dispatch
