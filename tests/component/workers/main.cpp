// The tests, and the two other things that this program can be: the launcher of its own workers, and a
// gateway that waits to be killed.
#include "support.hpp"
#include "workers/launcher.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <string_view>

namespace {

// Wants one worker and tells its process on stdout as soon as there is one; then waits.
//   arguments   the mark file, and flags for the worker
int be_a_gateway(int argc, char** argv)
{
    gw::workers::supervisor workers([](auto&&...) {}, gw::workers::own_executable);
    gw::config::upstream to = gw::workers::scripted(argv[2], {argv + 3, argv + argc});
    to.run->stop_timeout = std::chrono::milliseconds(300);
    workers.ensure(to, "org/m", [](auto&&) {});
    int pid = 0;
    (void)gw::workers::eventually([&] { return (pid = status_of(workers).pid) != 0; });
    std::printf("%d\n", pid);
    std::fflush(stdout);
    while (true) {
        ::pause();
    }
}

} // namespace

int main(int argc, char** argv)
{
    const std::string_view mode = argc > 1 ? argv[1] : "";
    if (mode == gw::workers::launcher_flag) {
        return gw::workers::run_launcher(argc, argv);
    }
    if (mode == "--as-gateway") {
        return be_a_gateway(argc, argv);
    }
    testing::InitGoogleMock(&argc, argv);
    return RUN_ALL_TESTS();
}
