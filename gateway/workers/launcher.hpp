// The launcher: a mode of the gateway's own binary that stands between the gateway and one worker, so that
// nothing outlives a killed gateway. It holds one end of a socket whose other end only the gateway has; end
// of file there, for whatever reason, ends the worker.
//
//   usage     fourways --worker-launcher FD STOP_MS FILES DIRECTORY COMMAND [ARGUMENT...]
//   runs      COMMAND by execvp: no shell, in DIRECTORY ("" = as it is), in a session and process group of
//   its own, with
//             descriptors 0, 1 and 2 and the environment of the launcher, at most FILES open files, no core
//             files, first in line for the kernel's out-of-memory killer, killed by the kernel should the
//             launcher die
//   ends      on end of file on FD, SIGTERM, SIGINT or SIGHUP: SIGTERM to the worker's group, SIGKILL after
//   STOP_MS.
//             Whatever the worker leaves behind is killed with it, also what has left its group
//   reports   on FD, a line each: `started PID`, then `exited STATUS` or `signal NUMBER`; or `failed REASON`
//   returns   the worker's status, 128 + signal, 127 or 126 when it could not be run, 2 for bad arguments
#pragma once

namespace gw::workers {

inline constexpr const char* launcher_flag = "--worker-launcher";

// REQUIRES argv[1] is launcher_flag, no other thread. To be called first in main(): it closes every
// descriptor that is not its own.
[[nodiscard]] int run_launcher(int argc, char** argv);

} // namespace gw::workers
