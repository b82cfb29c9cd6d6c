// How many requests may repeat themselves at once at upstreams that failed in the last seconds: a fifth of
// the active ones, at least three. It keeps a failing upstream from being hit twice as hard as usual; whoever
// moves to an upstream without a recent failure never asks it. One per process, relaxed atomics: cores that
// ask at the same instant may go over by one each.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace gw::dispatch {

class retry_budget
{
public:
    static constexpr std::int64_t minimum = 3;
    static constexpr std::int64_t percent = 20;

    void enter() { active_.fetch_add(1, std::memory_order_relaxed); }
    void leave() { active_.fetch_sub(1, std::memory_order_relaxed); }

    // False: enough repeat themselves already.
    [[nodiscard]] bool take()
    {
        const std::int64_t allowed = std::max(minimum, active() * percent / 100);
        if (retries_.fetch_add(1, std::memory_order_relaxed) < allowed) {
            return true;
        }
        retries_.fetch_sub(1, std::memory_order_relaxed);
        refused_.fetch_add(1, std::memory_order_relaxed);
        return false;
    }
    void give_back() { retries_.fetch_sub(1, std::memory_order_relaxed); }

    [[nodiscard]] std::int64_t active() const { return active_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::int64_t retries() const { return retries_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

private:
    alignas(64) std::atomic<std::int64_t> active_{0}; // written by every request
    alignas(64) std::atomic<std::int64_t> retries_{0};
    std::atomic<std::uint64_t> refused_{0};
};

} // namespace gw::dispatch
