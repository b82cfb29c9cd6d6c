// The orderly end of the cores: not ready, then no new connections, then no requests. On the control thread.
#pragma once

#include "runtime/cores.hpp"

#include <functional>
#include <memory>
#include <string_view>

namespace gw::runtime {

class drain
{
public:
    // `settings`: those that hold at the time. `over` is called once every session has ended, or is not
    // waited for any more.
    drain(
        net::asio::io_context& control,
        cores& all,
        dispatch::process& shared,
        const std::shared_ptr<const config::settings>& settings,
        std::function<void()> over
    );

    // Not ready at once; the listeners stay for `pre_stop`, so that load balancers look elsewhere before they
    // close. What is left when `drain` is over is cut.
    void begin();
    [[nodiscard]] bool begun() const { return begun_; } // /ready says 503
    // Requests end now, each with its record; whatever does not end soon is not waited for.
    void cut(std::string_view why);
    void forget(); // nothing is waited for any more

private:
    void close_listeners();
    void after(std::chrono::milliseconds time, std::function<void()> call);

    net::asio::io_context& control_;
    cores& all_;
    dispatch::process& shared_;
    const std::shared_ptr<const config::settings>& settings_;
    std::function<void()> over_;
    net::timer limit_;
    bool begun_ = false;
    bool closing_ = false; // the listeners are closed, or about to be
    std::size_t cores_draining_ = 0;
};

} // namespace gw::runtime
