#include "upstream/background.hpp"

#include "message/quiet_thread.hpp"

namespace gw::upstream {

void background::start(std::function<void(net::time_point)> each_tick)
{
    loop.each_tick([this](net::time_point now) { connections.tick(now); });
    if (each_tick) {
        loop.each_tick(std::move(each_tick));
    }
    thread_ = quiet_thread([this] { loop.run(); });
}

void background::stop()
{
    post([this] {
        ending_ = true;
        for (auto& each : stoppable_) {
            each.fire(code::stopping);
        }
        end_if_idle();
    });
    thread_.join();
}

void background::end_if_idle()
{
    if (ending_ && working_ == 0) {
        connections.clear();
        loop.finish();
    }
}

} // namespace gw::upstream
