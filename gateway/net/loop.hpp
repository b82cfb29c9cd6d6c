// One core's event loop with its deadlines: an io_context that one thread runs, and the tick.
#pragma once

#include "net/asio.hpp"
#include "net/deadline.hpp"

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

    asio::io_context io{1};
    deadline_list deadlines;

private:
    void arm();
    timer tick_;
    std::vector<std::function<void(time_point)>> ticks_;
};

} // namespace gw::net
