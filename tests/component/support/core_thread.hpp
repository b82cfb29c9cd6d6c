// A core of its own: a loop that a thread runs. Declare it behind whatever its coroutines use: it ends first.
#pragma once

#include "net/loop.hpp"

#include <thread>

namespace gw::test {

class core_thread
{
public:
    core_thread() : thread_([this] { loop.run(); }) {}
    ~core_thread()
    {
        loop.stop();
        thread_.join();
    }
    core_thread(const core_thread&) = delete;
    core_thread& operator=(const core_thread&) = delete;

    net::loop loop;

private:
    std::thread thread_;
};

} // namespace gw::test
