// All cores of the gateway, each with its thread and its listeners. Used by the control thread, which reaches
// what is a core's own only by posting to its loop.
#pragma once

#include "dispatch/core.hpp"
#include "runtime/listener.hpp"
#include "telemetry/metrics.hpp"

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace gw::runtime {

class cores
{
public:
    struct unit
    {
        explicit unit(dispatch::process& shared) : core(shared) {}
        dispatch::core core;
        std::vector<std::unique_ptr<listener>> listeners;
        std::thread thread;
        std::size_t draining = 0; // listeners that still have sessions
    };

    cores() = default;
    cores(const cores&) = delete;
    cores& operator=(const cores&) = delete;

    // REQUIRES `shared` outlives the threads: stop() comes before its end.
    void
    make(unsigned count, dispatch::process& shared, const std::shared_ptr<const dispatch::snapshot>& first);
    // Binds every address on every core.
    //   returns   their URLs, as the ready line names them
    [[nodiscard]] result<std::string> bind(const config::settings& by);
    void start(); // the threads

    [[nodiscard]] std::size_t count() const { return units_.size(); }
    [[nodiscard]] net::loop& first_loop() { return units_.front()->core.loop; }
    // On each core's thread, some time.
    void post_each(const std::function<void(unit&)>& call);
    void publish(const std::shared_ptr<const dispatch::snapshot>& next); // to each
    // The sum of what they counted, without a core that does not tell within 5 s.
    [[nodiscard]] telemetry::core_metrics metrics();

    // REQUIRES no session has to be waited for any more.
    void stop();

private:
    std::vector<std::unique_ptr<unit>> units_;
};

// http://127.0.0.1:8080
[[nodiscard]] std::string url_of(std::string_view scheme, const std::string& host, std::uint16_t port);

} // namespace gw::runtime
