// One core's event loop: what its descriptors are ready for, what was posted to it, and the tick that walks
// its deadlines. One thread runs it; everything but post() and stop() is for that thread.
//
// Why not Asio's: it tries every read before it waits for one, which is a system call that comes to nothing
// for each message, and it does not tell a read whether the peer has closed, so it could not do without.
#pragma once

#include "net/asio.hpp"
#include "net/deadline.hpp"
#include "net/descriptor.hpp"

#include <boost/intrusive/list.hpp>

#include <array>
#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <sys/epoll.h>
#include <thread>
#include <vector>

namespace gw::net {

class loop;

// Whoever waits for a descriptor. What the loop calls may destroy the object: loop::here() tells.
class watched
    : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>
{
public:
    watched() = default;
    watched(const watched&) = delete;
    watched& operator=(const watched&) = delete;

protected:
    ~watched() = default; // REQUIRES loop::forget() before

private:
    friend class loop;
    virtual void ready(std::uint32_t events) = 0; // epoll's; only changes are told (EPOLLET)
    virtual void due() = 0;                       // loop::soon() was called
};

class loop
{
public:
    loop();
    ~loop();
    loop(const loop&) = delete;
    loop& operator=(const loop&) = delete;

    // Runs until stop(); may be run again then.
    void run();
    void stop(); // any thread
    // Stops once the reads of connections that were just closed have ended. REQUIRES on its thread
    void finish();

    // Called each tick (100 ms), on the loop's thread. REQUIRES called before run().
    void each_tick(std::function<void(time_point)> call) { ticks_.push_back(std::move(call)); }

    using job = std::move_only_function<void()>;
    void post(job call); // from any thread; in order, and before whatever happened behind it

    // ---- descriptors ----
    [[nodiscard]] error_code watch(int fd, watched& who, std::uint32_t events);
    void unwatch(int fd); // before it is closed: a child that was just forked may hold it, too
    // Nothing more is told to `who`.
    void forget(watched& who);
    // Calls who.due() once, from the loop.
    void soon(watched& who)
    {
        if (!who.is_linked()) {
            soon_.push_back(who);
        }
    }
    // Within ready() and due(): the object that was called still exists.
    [[nodiscard]] bool here(const watched& who) const { return current_ == &who; }

    // ---- memory ----
    // Where reads put what they read: whoever is told of a read's end takes it out before anything else runs.
    static constexpr std::size_t small_block = 4 * 1024;
    static constexpr std::size_t full_block = 64 * 1024;
    using block = std::unique_ptr<char[]>;
    [[nodiscard]] char* scratch() { return scratch_.get(); } // full_block bytes
    [[nodiscard]] block take_scratch();                      // as it is, instead of a copy
    [[nodiscard]] block take_small();
    void give(block what, std::size_t size);

    // Lets everything run that is ready now, then goes on. To be awaited right before a small write: what
    // came together is worked on first and then goes out together, so that the other side is woken once for
    // many messages and not once for each, which costs more than the write itself.
    [[nodiscard]] auto turn()
    {
        struct awaiter
        {
            loop& on;
            bool await_ready() const noexcept { return false; }
            void await_suspend(std::coroutine_handle<> who)
            {
                on.post([who] { who.resume(); });
            }
            void await_resume() const noexcept {}
        };
        return awaiter{*this};
    }

    // What happened to a descriptor before that time was told to who watches it.
    [[nodiscard]] time_point looked() const { return looked_; }

    deadline_list deadlines;

private:
    using waiting = boost::intrusive::list<watched, boost::intrusive::constant_time_size<false>>;

    void look(int timeout_ms);
    void run_soon();
    void run_theirs(); // what other threads posted
    void run_posted(); // what this one did
    void tick(time_point now);
    void wake();

    descriptor epoll_;
    descriptor wake_;
    std::array<epoll_event, 256> events_{
    }; // of which those before count_ were told, and those behind at_ not yet handled
    std::size_t at_ = 0;
    std::size_t count_ = 0;
    watched* current_ = nullptr;
    waiting soon_;
    std::vector<job> mine_; // posted on this thread
    time_point next_tick_{};
    time_point looked_{};
    std::vector<std::function<void(time_point)>> ticks_;
    block scratch_;
    std::vector<block> small_;
    std::vector<block> full_;

    std::atomic<std::thread::id> thread_{};
    std::atomic<bool> stop_ = false;
    std::mutex lock_;
    std::vector<job> theirs_; // posted on other threads
};

} // namespace gw::net
