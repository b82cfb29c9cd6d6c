// A condition that one coroutine of a core waits for. set() resumes it through the event loop, never inline,
// so it may be called from anywhere on the core's thread.
#pragma once

#include "net/loop.hpp"

#include <coroutine>
#include <utility>

namespace gw::net {

class event
{
public:
    explicit event(loop& on) : on_(on) {}
    event(const event&) = delete;
    event& operator=(const event&) = delete;

    // Sticky: a set() that nobody waits for lets the next wait() return at once.
    void set()
    {
        set_ = true;
        if (waiter_) {
            on_.post([who = std::exchange(waiter_, nullptr)] { who.resume(); });
        }
    }
    [[nodiscard]] bool is_set() const { return set_; }

    // Waits until set() and takes it back. REQUIRES nobody else waits.
    [[nodiscard]] auto wait()
    {
        struct awaiter
        {
            event& of;
            bool await_ready() const noexcept { return of.set_; }
            void await_suspend(std::coroutine_handle<> who) noexcept { of.waiter_ = who; }
            void await_resume() noexcept { of.set_ = false; }
        };
        return awaiter{*this};
    }

private:
    loop& on_;
    std::coroutine_handle<> waiter_;
    bool set_ = false;
};

} // namespace gw::net
