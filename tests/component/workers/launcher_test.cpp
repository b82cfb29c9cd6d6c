#include "support.hpp"

#include "workers/launcher.hpp"
#include "workers/probe.hpp"
#include "workers/spawn.hpp"

#include <gmock/gmock.h>

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace gw::workers {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::MatchesRegex;

// All that comes until the other side closes, or until `enough` stands in it.
std::string read_all(const descriptor& from, std::string_view enough = "\xFF")
{
    std::string all;
    std::array<char, 4096> bytes{};
    while (!all.contains(enough)) {
        pollfd watched{from.get(), POLLIN, 0};
        if (::poll(&watched, 1, 30'000) <= 0) {
            return all + " <timeout>";
        }
        const ssize_t size = ::read(from.get(), bytes.data(), bytes.size());
        if (size <= 0) {
            break;
        }
        all.append(bytes.data(), static_cast<std::size_t>(size));
    }
    return all;
}

int status_of(pid_t launcher)
{
    int status = 0;
    while (::waitpid(launcher, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

launched
launch_or_fail(std::vector<std::string> command, std::string directory = "", milliseconds stop_timeout = 10s)
{
    result<launched> made = launch({
        .executable = own_executable,
        .command = std::move(command),
        .environment = {"PATH=/usr/bin:/bin", "WHAT=x"},
        .directory = std::move(directory),
        .stop_timeout = stop_timeout,
    });
    EXPECT_TRUE(made) << made.error().detail;
    return made ? std::move(*made) : launched{};
}

TEST(launcher, reports_and_forwards_the_exit_status)
{
    const launched one = launch_or_fail({"sh", "-c", "echo out; echo err >&2; pwd; env; exit 5"}, "/usr");
    EXPECT_THAT(read_all(one.control), MatchesRegex("started [0-9]+\nexited 5\n"));
    EXPECT_THAT(read_all(one.output), testing::StartsWith("out\nerr\n/usr\n"));
    EXPECT_EQ(status_of(one.launcher), 5);
}

TEST(launcher, reports_a_signal)
{
    const launched one = launch_or_fail({"sh", "-c", "kill -SEGV $$"});
    EXPECT_THAT(read_all(one.control), MatchesRegex("started [0-9]+\nsignal 11\n"));
    EXPECT_EQ(status_of(one.launcher), 128 + SIGSEGV);
}

TEST(launcher, tells_what_cannot_be_run)
{
    const launched missing = launch_or_fail({"/no/such/program"});
    EXPECT_EQ(read_all(missing.control), "failed cannot run /no/such/program: No such file or directory\n");
    EXPECT_EQ(status_of(missing.launcher), 127);
    EXPECT_THAT(read_all(missing.output), HasSubstr("cannot run"));

    const launched folder = launch_or_fail({"/tmp"});
    EXPECT_EQ(read_all(folder.control), "failed cannot run /tmp: Permission denied\n");
    EXPECT_EQ(status_of(folder.launcher), 126);
}

TEST(launcher, end_of_file_ends_the_worker)
{
    launched one = launch_or_fail({"sleep", "1000"});
    EXPECT_THAT(read_all(one.control, "\n"), MatchesRegex("started [0-9]+\n"));
    ::shutdown(one.control.get(), SHUT_WR);
    EXPECT_EQ(read_all(one.control), "signal 15\n");
    EXPECT_EQ(status_of(one.launcher), 128 + SIGTERM);

    one = launch_or_fail({"sleep", "1000"});
    EXPECT_THAT(read_all(one.control, "\n"), MatchesRegex("started [0-9]+\n"));
    one.control.reset();
    EXPECT_EQ(status_of(one.launcher), 128 + SIGTERM);
}

TEST(launcher, a_worker_that_ignores_sigterm_is_killed_in_time)
{
    const launched one =
        launch_or_fail({"sh", "-c", "trap '' TERM; echo up; while :; do sleep 1000; done"}, "", 200ms);
    EXPECT_EQ(read_all(one.output, "up"), "up\n");
    const auto begun = std::chrono::steady_clock::now();
    ::shutdown(one.control.get(), SHUT_WR);
    EXPECT_EQ(status_of(one.launcher), 128 + SIGKILL);
    EXPECT_GE(std::chrono::steady_clock::now() - begun, 200ms);
}

TEST(launcher, sigterm_ends_both)
{
    const launched one = launch_or_fail({"sleep", "1000"});
    EXPECT_THAT(read_all(one.control, "\n"), MatchesRegex("started [0-9]+\n"));
    ::kill(one.launcher, SIGTERM);
    EXPECT_EQ(status_of(one.launcher), 128 + SIGTERM);
}

TEST(launcher, the_kernel_kills_the_worker_of_a_killed_launcher)
{
    const launched one = launch_or_fail({"sleep", "1000"});
    const pid_t worker = std::stoi(read_all(one.control, "\n").substr(8));
    EXPECT_FALSE(is_gone(worker));
    ::kill(one.launcher, SIGKILL);
    EXPECT_EQ(status_of(one.launcher), -SIGKILL);
    EXPECT_TRUE(eventually([&] { return is_gone(worker); }));
}

TEST(launcher, the_worker_begins_with_default_signals)
{
    sigset_t some;
    sigset_t before;
    ::sigemptyset(&some);
    ::sigaddset(&some, SIGUSR1);
    ::sigaddset(&some, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &some, &before);
    const auto old = ::signal(SIGPIPE, SIG_IGN);
    const launched one = launch_or_fail({"sleep", "1000"});
    ::signal(SIGPIPE, old);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);

    const pid_t worker = std::stoi(read_all(one.control, "\n").substr(8));
    const auto signals = [&](const std::string& name) {
        const std::vector<std::string> found = marked("/proc/" + std::to_string(worker) + "/status", name);
        std::string hexadecimal = found.empty() ? "f" : found[0];
        return std::stoull(hexadecimal, nullptr, 16) & 0x7fffffffU; // 32 and 33 are the C library's own
    };
    EXPECT_EQ(signals("SigBlk:"), 0U);
    EXPECT_EQ(signals("SigIgn:"), 0U);
    ::shutdown(one.control.get(), SHUT_WR);
    EXPECT_EQ(status_of(one.launcher), 128 + SIGTERM);
}

TEST(launcher, refuses_arguments_that_the_gateway_never_gives)
{
    const auto run = [](std::vector<std::string> arguments) {
        std::vector<char*> pointers;
        for (std::string& each : arguments) {
            pointers.push_back(each.data());
        }
        return run_launcher(static_cast<int>(pointers.size()), pointers.data());
    };
    EXPECT_EQ(run({"fourways", launcher_flag}), 2);
    EXPECT_EQ(run({"fourways", launcher_flag, "3", "100", "1024", ""}), 2);
    EXPECT_EQ(run({"fourways", launcher_flag, "1", "100", "1024", "", "true"}), 2);
    EXPECT_EQ(run({"fourways", launcher_flag, "x", "100", "1024", "", "true"}), 2);
    EXPECT_EQ(run({"fourways", launcher_flag, "3", "-1", "1024", "", "true"}), 2);
    EXPECT_EQ(run({"fourways", launcher_flag, "3", "100", "many", "", "true"}), 2);
    EXPECT_EQ(run({"fourways", launcher_flag, "999", "100", "1024", "", "true"}), 2) << "not open";
}

TEST(probe, reads_a_status_line_strictly)
{
    EXPECT_EQ(status_of_line("HTTP/1.1 200 OK\r"), 200);
    EXPECT_EQ(status_of_line("HTTP/1.0 503"), 503);
    EXPECT_EQ(status_of_line("HTTP/1.1 200 "), 200);
    for (const char* line :
         {"",
          "HTTP/1.1",
          "HTTP/1.1 20",
          "HTTP/1.1 2000",
          "HTTP/1.1 2x0 OK",
          "HTTP/2 200 OK",
          "HTTP/1.x 200 OK",
          "200 OK",
          "GET /health HTTP/1.1\r"}) {
        EXPECT_EQ(status_of_line(line), 0) << line;
    }
}

} // namespace
} // namespace gw::workers
