// What was looked up, for how long it counts, and whether the Hub may be asked now. A state machine without
// I/O, clock and locks: time comes in, and what to do comes out. A model is asked for once, however many want
// to know; an answer that has aged goes on being served while it is asked for again.
#pragma once

#include "message/ways.hpp"

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace gw::hub {

using time_point = std::chrono::steady_clock::time_point;

struct memory_limits
{
    std::chrono::milliseconds fresh{std::chrono::minutes(10)}; // an answer
    std::chrono::milliseconds no{std::chrono::minutes(1)};     // a no; never longer than `fresh`
    std::chrono::milliseconds stale{std::chrono::hours(24)};   // served while nothing newer is to be had
    std::size_t entries = 4096;                                // least recently wanted first out
    std::size_t asking = 256; // look-ups under way, and waiting for their turn
};

class memory
{
public:
    explicit memory(memory_limits limits = {}) : limits_(limits) {}

    enum class advice : std::uint8_t {
        serve,   // `is` counts
        refresh, // `is` counts, and the caller asks again: it was noted as asking
        ask,     // the caller asks: it was noted as asking
        wait,    // somebody asks already
        away,    // not now, and nothing is known
    };
    struct found
    {
        advice what = advice::away;
        std::shared_ptr<const hub_answer> is; // serve, refresh; away: says why
    };
    [[nodiscard]] found look(std::string_view model, time_point now);

    // Every `ask` and `refresh` ends in one of these.
    //   rest       the Hub is left alone for so long
    //   only_this  an `away` that concerns no other model: it counts as a no, and others may be asked for
    // Returns what those who wait get: what was told; when that is `away`, what was known before, if
    // anything.
    std::shared_ptr<const hub_answer>
    put(const std::string& model,
        hub_answer told,
        std::optional<std::chrono::milliseconds> rest,
        time_point now,
        bool only_this = false);

    // Another hub, or another token there. What is being asked meanwhile is not kept.
    void forget();
    void set(memory_limits limits) { limits_ = limits; }

    [[nodiscard]] std::size_t size() const { return known_.size(); }
    [[nodiscard]] std::size_t asking() const { return asking_.size(); }

private:
    struct entry
    {
        std::shared_ptr<const hub_answer> is;
        time_point at;
        std::list<std::string>::iterator use;
    };
    [[nodiscard]] std::chrono::milliseconds good_for(const hub_answer& is) const;
    [[nodiscard]] bool may_ask(time_point now) const { return now >= rests_until_; }

    memory_limits limits_;
    std::unordered_map<std::string, entry> known_;
    std::list<std::string> uses_; // the last one first
    std::unordered_set<std::string> asking_;
    std::unordered_set<std::string> outdated_; // asked before forget()
    time_point rests_until_{};
    std::chrono::milliseconds back_off_{0};
    std::shared_ptr<const hub_answer> why_away_;
};

} // namespace gw::hub
