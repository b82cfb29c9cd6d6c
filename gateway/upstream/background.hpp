// A thread beside the cores, with an event loop and a pool of its own, for what is asked of upstreams on
// behalf of all requests: look-ups at the Hub, the waking of endpoints. Started when there is something to
// do.
#pragma once

#include "net/loop.hpp"
#include "net/task.hpp"
#include "upstream/pool.hpp"

#include <boost/intrusive/list.hpp>

#include <cstddef>
#include <functional>
#include <thread>
#include <utility>

namespace gw::upstream {

class background
{
public:
    // REQUIRES `names` outlives this.
    explicit background(net::resolver& names) : connections(loop, names) {}
    background(const background&) = delete;
    background& operator=(const background&) = delete;

    // ---- of its owner: one thread, or one lock ----
    // `each_tick`: called on the thread, with each tick of the loop.
    void start(std::function<void(net::time_point)> each_tick = {});
    [[nodiscard]] bool started() const { return thread_.joinable(); }
    // Interrupts the work that runs, waits for its end, and ends the thread. REQUIRES before this goes, and
    // what the work refers to; start() is not called again.
    void stop();

    void post(net::loop::job call) { loop.post(std::move(call)); } // any thread; in order

    // ---- on the thread ----
    // What interrupts one piece of work when the thread is to end.
    class stoppable
        : public net::interrupt,
          public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>
    {
    public:
        explicit stoppable(background& on) { on.stoppable_.push_back(*this); }
    };
    // Starts `work` now; `over(exception_ptr)` is called when it has ended. REQUIRES !ending()
    template <class Over>
    void spawn(net::task<void> work, Over over)
    {
        ++working_;
        net::spawn(std::move(work), [this, over = std::move(over)](const std::exception_ptr& bug) mutable {
            --working_;
            over(bug);
            end_if_idle();
        });
    }
    [[nodiscard]] std::size_t working() const { return working_; } // how much was spawned and has not ended
    [[nodiscard]] bool ending() const { return ending_; }          // nothing new is begun
    net::loop loop;
    pool connections;

private:
    void end_if_idle();

    boost::intrusive::list<stoppable, boost::intrusive::constant_time_size<false>> stoppable_;
    std::size_t working_ = 0;
    bool ending_ = false;
    std::thread thread_;
};

} // namespace gw::upstream
