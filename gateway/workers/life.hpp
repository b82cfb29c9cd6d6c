// The life of one local worker: when it starts, who may use it, when it stops, how long it rests after a
// crash. Decides and does nothing: events come in with their time, advance() says what to do next. No I/O, no
// clock, no lock (the supervisor keeps one around each).
//
//   stopped -> starting -> ready -> stopping -> stopped         a crash goes to stopped from anywhere
//
// A crash is any end that was not asked for, a start that took too long, and a worker that was condemned.
// After it the next start waits 100 ms, doubled for each further crash up to 30 s; a minute of good service
// clears that. Five crashes within 60 s mark the worker down for 60 s.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>

namespace gw::workers {

using time_point = std::chrono::steady_clock::time_point;
using std::chrono::milliseconds;

// Where a worker that may be used listens, on 127.0.0.1. No two starts share a generation.
struct ready_worker
{
    std::uint16_t port = 0;
    std::uint64_t generation = 0;
    friend bool operator==(const ready_worker&, const ready_worker&) = default;
};

struct tunables
{
    milliseconds start_timeout{120'000};
    milliseconds idle_stop{0}; // from the end of the last request; 0: never
    milliseconds stop_timeout{10'000};
    friend bool operator==(const tunables&, const tunables&) = default;
};

class life
{
public:
    static constexpr milliseconds first_back_off{100};
    static constexpr milliseconds longest_back_off{30'000};
    static constexpr std::size_t crashes_until_down = 5;
    static constexpr milliseconds crash_window{60'000};
    static constexpr milliseconds down_time{60'000};
    static constexpr milliseconds longest_wait{1'000};  // a caller waits for a back-off that ends within this
    static constexpr milliseconds retirement{30'000};   // what a retired worker has for its last requests
    static constexpr milliseconds retired_silence{500}; // and how long it idles before it goes
    static constexpr milliseconds kill_margin{3'000};   // over stop_timeout: then its launcher is stuck, too
    static constexpr milliseconds condemned_time{2'000
    }; // one that does not do its work has no more after SIGTERM
    static constexpr int port_tries = 3;

    enum class state : std::uint8_t { stopped, starting, ready, stopping };
    enum class answer : std::uint8_t { ready, wait, backing_off, down, removed, closed };
    enum class deed : std::uint8_t { nothing, start, stop, strike, kill };
    enum class reason : std::uint8_t { none, idle, slow_start, condemned, retired, closed };

    explicit life(const tunables& how) : how_(how) {}
    void tune(const tunables& how) { how_ = how; }

    // Somebody wants it.
    //   ready         where() has a value
    //   wait          stays wanted until became_ready() or a crash tells how it went
    //   backing_off   after a crash; try_again_in() says how long
    //   down          after many
    //   removed       retired and gone
    //   closed        the gateway is stopping
    [[nodiscard]] answer want(time_point now);
    [[nodiscard]] milliseconds try_again_in(time_point now) const;

    // What to do now, and when to ask again unless something happens before. Each deed is told once: `start`
    // is to be answered by launched() or ended(), the others by ended(). `stop` asks; `strike` kills the
    // worker, `kill` its launcher too.
    struct order
    {
        deed what = deed::nothing;
        reason why = reason::none; // of deed::stop
        std::optional<time_point> again;
    };
    [[nodiscard]] order advance(time_point now);

    // What happened.
    void launched(ready_worker where, time_point now);
    void became_ready(time_point now);
    // Its process is gone. Tells whether those who wait for it must be told: false when it will be started
    // again for them.
    //   port_taken   somebody else listens where it should have: not its fault, another port is tried
    [[nodiscard]] bool ended(time_point now, bool port_taken);
    // It does not do its work: out of service at once, to be stopped, and counted as a crash. False: it is
    // not that one.
    [[nodiscard]] bool condemn(std::uint64_t generation, time_point now);

    // A reload no longer names it: it serves what it has, for a while. True: it will not start for those who
    // wait. Named again: back to normal.
    [[nodiscard]] bool retire(time_point now);
    void name_again() { retired_since_.reset(); }
    // Another worker for the same upstream and model still runs: two never do.
    void hold_back(bool another_runs) { held_back_ = another_runs; }
    // The gateway is stopping: nobody is served any more.
    void close();

    // Requests. give_back: true when advance() has something to do.
    [[nodiscard]] std::optional<ready_worker> where() const;
    [[nodiscard]] std::optional<ready_worker> borrow();
    [[nodiscard]] bool give_back(std::uint64_t generation, time_point now);

    [[nodiscard]] state now() const { return state_; }
    [[nodiscard]] const ready_worker& current() const { return where_; }
    [[nodiscard]] std::size_t in_flight() const { return in_flight_; }
    [[nodiscard]] std::uint64_t starts() const { return starts_; }
    [[nodiscard]] std::uint64_t crashes() const { return crashes_; }
    [[nodiscard]] bool retired() const { return retired_since_.has_value(); }
    [[nodiscard]] bool down(time_point at) const { return at < down_until_; }

private:
    void crash(time_point now);
    order stop(time_point now, reason why);

    tunables how_;
    state state_ = state::stopped;
    ready_worker where_;
    bool wanted_ = false; // somebody waits
    bool held_back_ = false;
    bool closed_ = false;
    bool condemned_ = false; // ready no longer, `stop` not yet told
    bool killed_ = false;
    std::optional<time_point> strike_at_; // stopping, and condemned
    time_point since_;                    // of starting, ready (or its last request's end) and stopping
    time_point ready_at_;
    std::optional<time_point> retired_since_;
    std::size_t in_flight_ = 0; // of this generation
    std::uint64_t starts_ = 0;
    std::uint64_t crashes_ = 0;

    std::uint32_t crashes_in_a_row_ = 0;
    std::deque<time_point> recent_crashes_; // within crash_window
    time_point rest_until_;                 // back-off or down
    time_point down_until_;
    int ports_tried_ = 0;
};

[[nodiscard]] std::string_view to_string(life::state value);

} // namespace gw::workers
