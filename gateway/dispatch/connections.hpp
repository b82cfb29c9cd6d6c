// How many client connections there are: in all, and for each client. Counted over all cores, so that a limit
// is what the policy says whichever core a connection came to. In all: one relaxed atomic, which never
// exceeds the limit; cores that ask at the same moment may refuse one connection each too early. For each
// client: a table with short locks, asked only when a connection's client is first seen or changes. Safe from
// any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace gw::dispatch {

class connections
{
public:
    connections() = default;
    connections(const connections&) = delete;
    connections& operator=(const connections&) = delete;

    // ---- in all ----

    void allow(std::size_t most) { most_.store(most, std::memory_order_relaxed); }
    [[nodiscard]] std::size_t allowed() const { return most_.load(std::memory_order_relaxed); }
    // False: there are as many as are allowed. Else give() must follow.
    [[nodiscard]] bool take()
    {
        if (open_.fetch_add(1, std::memory_order_relaxed) < allowed()) {
            return true;
        }
        give();
        return false;
    }
    void give() { open_.fetch_sub(1, std::memory_order_relaxed); }

    // ---- of one client ----

    // A connection's place among those of its client, given back when it goes. Belongs to one connection.
    class place
    {
    public:
        place() = default;
        ~place() { leave(); }
        place(const place&) = delete;
        place& operator=(const place&) = delete;

        // Makes this a connection of `who`, and no longer one of anybody else's.
        //   who      a client's name, or the address of one without a name. Not kept
        //   returns  false: `who` has as many as `most` already, and this is nobody's
        [[nodiscard]] bool enter(connections& all, std::string_view who, std::size_t most);
        void leave();

    private:
        connections* all_ = nullptr;
        std::string who_;
    };

    // Clients that have connections; for tests.
    [[nodiscard]] std::size_t clients();

private:
    struct by_text
    {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
    };
    // Entries live as long as a connection stands for them, so there are never more than connections.
    struct shard
    {
        std::mutex guard;
        std::unordered_map<std::string, std::size_t, by_text, std::equal_to<>> open;
    };
    [[nodiscard]] shard& of(std::string_view who) { return shards_[by_text{}(who) % shards_.size()]; }

    std::atomic<std::size_t> open_{0};
    std::atomic<std::size_t> most_{4096};
    std::array<shard, 16> shards_;
};

} // namespace gw::dispatch
