// The process-wide store of bodies that are kept for a second attempt: two budgets (memory, disk), a folder
// for what outgrows memory, and two side threads that do all its file I/O. One per process; outlives every
// replay. Everything here may be called from any thread. No Asio.
#pragma once

#include "message/failure.hpp"
#include "payload/block_pool.hpp"

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace gw::payloads {

class spool;

// Every block has this many readable bytes behind its last one, as simdjson wants them.
inline constexpr std::size_t block_padding = 64;

// `overloaded`, with a time to try again.
[[nodiscard]] failure out_of_space(std::string detail);
// The same when `dir` cannot be written.
[[nodiscard]] failure unwritable(std::string detail);

// What is to happen when there is no space for a copy of the body.
enum class copies : std::uint8_t {
    required, // the body is whole before it is used (JSON, chunked): no space is `overloaded`
    wanted,   // it streams, the copy is for a second attempt: no space means to go without
    none,     // it streams and there is no second candidate: none is kept
};

// Space taken from the budgets; gives it back when it dies. Movable, owned by one replay.
class reservation
{
public:
    reservation() = default;
    reservation(reservation&& other) noexcept { *this = std::move(other); }
    reservation& operator=(reservation&& other) noexcept;
    reservation(const reservation&) = delete;
    reservation& operator=(const reservation&) = delete;
    ~reservation() { release(); }

    [[nodiscard]] std::uint64_t memory() const { return memory_; }
    [[nodiscard]] std::uint64_t disk() const { return disk_; }
    [[nodiscard]] copies how() const
    {
        return how_;
    } // `none` also when a copy was wanted and the disk is full
    [[nodiscard]] std::optional<std::uint64_t> expected() const { return expected_; }
    // There is memory for all of it, though it is a large one.
    [[nodiscard]] bool whole() const { return whole_; }

private:
    friend class spool;
    friend class replay;

    void release();
    void release_disk();
    // Not whole() any more: down to so much memory.
    void shrink(std::uint64_t memory);

    spool* from_ = nullptr;
    std::uint64_t memory_ = 0;
    std::uint64_t disk_ = 0;
    copies how_ = copies::required;
    std::optional<std::uint64_t> expected_;
    bool whole_ = false;
};

struct spool_limits
{
    std::string dir = "/var/tmp";               // files live here without a name
    std::uint64_t memory_per_body = 256 * 1024; // what a body keeps in memory; more goes to a file
    std::uint64_t memory = 64ULL << 20U;        // all bodies together
    std::uint64_t whole = 0; // a body of known size up to this touches no file while half of `memory` is free
    std::uint64_t disk = 4ULL << 30U; // all files together
    std::size_t block = 64 * 1024;    // the unit of memory; > 0
    std::size_t write = 256 * 1024;   // what is written at once; a multiple of `block`
    std::size_t read = 128 * 1024;    // what a reader of a file reads at once; > 0
};

class spool
{
public:
    // Starts the side threads. Does not touch `dir`: a bad one is noticed when a body outgrows memory.
    explicit spool(spool_limits limits);
    // Finishes what was submitted, then joins.  REQUIRES: no replay is left.
    ~spool();
    spool(const spool&) = delete;
    spool& operator=(const spool&) = delete;

    // Takes the space that a body needs.
    //   expected  its Content-Length; nullopt: not known, space is then taken as it grows
    //   errors    overloaded (origin gateway): memory is used up, or disk with copies::required
    [[nodiscard]] result<reservation> admit(std::optional<std::uint64_t> expected, copies how);

    [[nodiscard]] const spool_limits& limits() const { return limits_; }

    // Blocks of limits().block bytes and block_padding more.
    [[nodiscard]] block_pool& blocks() { return blocks_; }

    // For metrics.
    struct figures
    {
        std::uint64_t memory = 0; // reserved now
        std::uint64_t disk = 0;
        std::uint64_t refused = 0;      // bodies refused for want of space
        std::uint64_t without_copy = 0; // bodies that lost their copy, or never had one, for want of space
        std::uint64_t io_errors = 0;
    };
    [[nodiscard]] figures now() const;

private:
    friend class reservation;
    friend class replay;

    // Counts what must not be refused: a reader's buffer.
    void charge_memory(std::uint64_t more) { memory_.fetch_add(more, std::memory_order_relaxed); }
    void release_memory(std::uint64_t less) { memory_.fetch_sub(less, std::memory_order_relaxed); }
    bool take_memory(reservation& into, std::uint64_t more)
    {
        return take_memory(into, more, limits_.memory);
    }
    bool take_memory(reservation& into, std::uint64_t more, std::uint64_t limit);
    bool take_disk(reservation& into, std::uint64_t more);
    void submit(std::move_only_function<void()> job);
    void work();

    const spool_limits limits_;
    block_pool blocks_;
    std::atomic<std::uint64_t> memory_{0};
    std::atomic<std::uint64_t> disk_{0};
    std::atomic<std::uint64_t> refused_{0};
    std::atomic<std::uint64_t> without_copy_{0};
    std::atomic<std::uint64_t> io_errors_{0};

    std::mutex lock_; // guards the two below
    std::deque<std::move_only_function<void()>> jobs_;
    bool stopping_ = false;
    std::condition_variable wake_;
    std::vector<std::thread> threads_;
};

} // namespace gw::payloads
