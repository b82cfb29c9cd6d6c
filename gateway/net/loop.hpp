// One core's event loop with its deadlines: an io_context that one thread runs, and the tick.
#pragma once

#include "net/asio.hpp"
#include "net/deadline.hpp"

#include <coroutine>
#include <functional>
#include <utility>
#include <vector>

namespace gw::net {

class loop
{
public:
    loop();
    loop(const loop&) = delete;
    loop& operator=(const loop&) = delete;

    // Runs until stop().
    void run();
    void stop() { io.stop(); } // any thread

    // Called each tick (100 ms), on the loop's thread. REQUIRES called before run().
    void each_tick(std::function<void(time_point)> call) { ticks_.push_back(std::move(call)); }

    // From any thread.
    template <class F>
    void post(F&& call)
    {
        asio::post(io.get_executor(), std::forward<F>(call));
    }
    [[nodiscard]] executor get_executor() { return io.get_executor(); }

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

    asio::io_context io{1};
    deadline_list deadlines;

private:
    void arm();
    timer tick_;
    std::vector<std::function<void(time_point)>> ticks_;
};

} // namespace gw::net
