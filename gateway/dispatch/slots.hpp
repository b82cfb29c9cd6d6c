// How many requests an upstream has in flight, how many it bears, and who waits for it.
//
// A place is one configured upstream; for workers one (upstream, model), since each is a process of its own.
// It counts what is in flight there and has a limit: `max_in_flight`, or what was learned from a refusal
// without a time ("full": the number then in flight, one more after each round without a refusal), whichever
// is less. A slot that becomes free is handed to the first who waits, so nobody overtakes; `max_waiting`
// bounds the waiting per upstream and model.
//
// One per process; every function may be called from any thread. Without a limit and without waiters a slot
// costs one relaxed look-up and one atomic addition, no lock. While a limit is being learned on another core
// a few may slip over it. Wake callbacks are called outside of all locks, on the thread that freed the slot:
// the owner posts to its own core. Places live as long as this; the number of busy ones is what bounds it. No
// I/O, no clock.
#pragma once

#include "config/settings.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gw::dispatch {

using time_point = std::chrono::steady_clock::time_point;

struct slots_view
{
    std::string upstream;
    std::string model; // workers only
    std::size_t in_flight = 0;
    std::size_t limit = 0;   // 0: none
    std::size_t learned = 0; // 0: nothing was learned
    std::size_t waiting = 0;
};

class slots
{
    struct place;
    struct waiter;

public:
    using wake_function = std::move_only_function<void()>;
    static constexpr std::chrono::minutes forget_after{10}; // without a refusal: the learned limit goes away
    static constexpr std::size_t nominal_places = 1024;     // above it, places that nobody uses are used anew

    // One slot in use; released when it goes. Movable, any thread. REQUIRES `slots` outlives it.
    class lease
    {
    public:
        lease() = default;
        lease(lease&& other) noexcept;
        lease& operator=(lease&& other) noexcept;
        ~lease() { release(); }

        [[nodiscard]] explicit operator bool() const { return where_ != nullptr; }
        void release();

        // The upstream was full: the limit becomes what is in flight there now, apart from this one. False:
        // nothing else was, so it was not the crowd, and back-off is the answer.
        bool refused(time_point now);
        // A good answer: rounds of them raise a learned limit.
        void succeeded(time_point now);

    private:
        friend class slots;
        explicit lease(place* where) : where_(where) {}
        place* where_ = nullptr;
    };

    // A seat in the queue of a place; given up when it goes (a slot that was handed over meanwhile goes to
    // the next).
    class ticket
    {
    public:
        ticket() = default;
        ticket(ticket&& other) noexcept;
        ticket& operator=(ticket&& other) noexcept;
        ~ticket() { leave(); }

        [[nodiscard]] explicit operator bool() const { return where_ != nullptr; }
        // The slot that was handed over; empty: not yet.
        [[nodiscard]] lease take();
        void leave();

    private:
        friend class slots;
        ticket(place* where, std::list<waiter>::iterator me) : where_(where), me_(me) {}
        place* where_ = nullptr;
        std::list<waiter>::iterator me_{};
    };

    slots();
    ~slots();
    slots(const slots&) = delete;
    slots& operator=(const slots&) = delete;

    // A slot now, or none: somebody waits already, or the limit is reached.
    [[nodiscard]] lease acquire(const config::upstream& to, std::string_view model);

    // A seat in the queue for a slot. Empty: `max_waiting` of this model wait already. `wake` is called once.
    [[nodiscard]] ticket
    wait_for_slot(const config::upstream& to, std::string_view model, wake_function wake);

    // A seat among those who wait for the outcome of a probe. Empty as above. `wake` is called once, by
    // news().
    [[nodiscard]] ticket
    wait_for_news(const config::upstream& to, std::string_view model, wake_function wake);

    // A block there was set, changed or taken away: all who wait for news of what rests together with it
    // (`place_of`) look again, of each place in the order in which they came.
    void news(const config::upstream& to, std::string_view model);

    [[nodiscard]] std::vector<slots_view> view() const;
    [[nodiscard]] std::size_t waiting() const { return waiting_.load(std::memory_order_relaxed); }

private:
    [[nodiscard]] place& at(const config::upstream& to, std::string_view model);

    std::atomic<std::size_t> waiting_{0};
    std::atomic<std::size_t> listening_{0}; // of them, for news
    std::array<std::atomic<place*>, nominal_places> chains_{};

    mutable std::mutex lock_; // making and renaming of places
    std::vector<std::unique_ptr<place>> places_;
};

} // namespace gw::dispatch
