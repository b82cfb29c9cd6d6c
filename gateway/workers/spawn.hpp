// The gateway's side of starting a process: a free port, a launcher with its socket and the worker's output.
// Any thread. Nothing here waits for the worker.
#pragma once

#include "message/failure.hpp"
#include "workers/descriptor.hpp"

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace gw::workers {

struct launch_order
{
    std::string executable;           // this binary, whose main() knows launcher_flag
    std::vector<std::string> command; // not empty
    std::vector<std::string> environment;
    std::string directory;
    std::chrono::milliseconds stop_timeout;
};

struct launched
{
    pid_t launcher = -1;
    descriptor
        control;       // launcher.hpp says what comes here; to close it, or its sending side, ends the worker
    descriptor output; // what the worker writes to stdout and stderr, in order
};

// Both descriptors are non-blocking and CLOEXEC; the launcher is in a session of its own and has nothing else
// of ours.
//   errors    unavailable: no more descriptors or processes, or the executable is gone (detail says which)
[[nodiscard]] result<launched> launch(const launch_order& order);

// A TCP port of 127.0.0.1 that nobody has just now. Somebody may take it before the worker does: port_taken()
// tells.
//   errors    unavailable: none left
[[nodiscard]] result<std::uint16_t> free_port();
[[nodiscard]] bool port_taken(std::uint16_t port);

} // namespace gw::workers
