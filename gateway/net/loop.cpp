#include "net/loop.hpp"

namespace gw::net {

loop::loop() : tick_(io) {}

void loop::run()
{
    arm();
    io.run();
}

void loop::arm()
{
    tick_.expires_after(std::chrono::milliseconds(100));
    tick_.async_wait([this](error_code ec) {
        if (ec) {
            return;
        }
        const auto now = clock::now();
        deadlines.tick(now);
        for (const auto& each : ticks_) {
            each(now);
        }
        arm();
    });
}

} // namespace gw::net
