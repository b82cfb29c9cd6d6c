#include "workers/launcher.hpp"

#include "workers/descriptor.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gw::workers {
namespace {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds sweep_time{2'000}; // for what SIGKILL does not end at once

template <class Number>
std::optional<Number> parse(std::string_view text)
{
    Number value{};
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (fault != std::errc{} || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

// Every descriptor above 2 but `kept`: the gateway opens all with CLOEXEC, this is for what a library forgot.
void close_others(int kept)
{
    const auto close_from_to = [](unsigned from, unsigned to) {
        return from > to || ::syscall(SYS_close_range, from, to, 0) == 0;
    };
    const auto above = static_cast<unsigned>(kept);
    if (close_from_to(3, above - 1) && close_from_to(above + 1, ~0U)) {
        return;
    }

    // Linux before 5.9.
    std::vector<int> open;
    if (DIR* folder = ::opendir("/proc/self/fd"); folder != nullptr) {
        while (const dirent* entry = ::readdir(folder)) {
            if (const std::optional<int> number = parse<int>(entry->d_name);
                number && *number > 2 && *number != kept) {
                open.push_back(*number);
            }
        }
        ::closedir(folder);
    }
    for (const int number : open) {
        ::close(number);
    }
}

sigset_t set_of(std::initializer_list<int> signals)
{
    sigset_t set;
    ::sigemptyset(&set);
    for (const int each : signals) {
        ::sigaddset(&set, each);
    }
    return set;
}

void report(int control, const std::string& line)
{
    // Nobody there to read it: then the end of file says so, too.
    (void)::send(control, line.data(), line.size(), MSG_NOSIGNAL);
}

// Makes this process a likelier victim than the gateway, whatever the gateway's own score is (proc(5)).
void offer_to_oom_killer()
{
    const descriptor score(::open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC));
    std::array<char, 16> text{};
    const ssize_t size = ::read(score.get(), text.data(), text.size());
    const std::string_view line(text.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    if (const std::optional<int> now = parse<int>(line.substr(0, line.find('\n')))) {
        const std::string more = std::to_string(std::min(1000, *now + 300));
        (void)!::pwrite(score.get(), more.data(), more.size(), 0);
    }
}

// In the new process. Returns only when the command could not be run; errno says why.
void become_worker(pid_t launcher, rlim_t files, const char* directory, char** command)
{
    ::setsid();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != launcher) { // it died before it could be told
        ::_exit(1);
    }
    const rlimit none{0, 0}; // a core file would hold payloads and tokens
    ::setrlimit(RLIMIT_CORE, &none);
    rlimit open{};
    if (::getrlimit(RLIMIT_NOFILE, &open) == 0) {
        open.rlim_cur = std::min(files, open.rlim_max);
        ::setrlimit(RLIMIT_NOFILE, &open);
    }
    offer_to_oom_killer();
    if (*directory != '\0' && ::chdir(directory) != 0) {
        return;
    }
    const sigset_t nothing = set_of({});
    ::sigprocmask(SIG_SETMASK, &nothing, nullptr);
    ::execvp(command[0], command);
}

// The parent of a process, from `PID (NAME) STATE PPID ...`, whose name may hold anything: the last
// parenthesis counts (proc(5)). Nothing: it is gone. Read by hand, since a stream throws when a process goes
// while it is read.
std::optional<pid_t> parent_of(pid_t pid)
{
    const descriptor file(::open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
    std::array<char, 512> bytes{};
    const ssize_t size = file ? ::read(file.get(), bytes.data(), bytes.size()) : -1;
    const std::string_view text(bytes.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
    const std::size_t name_end = text.rfind(')');
    if (name_end == std::string_view::npos || text.size() < name_end + 4) {
        return std::nullopt;
    }
    const std::string_view rest = text.substr(name_end + 4);
    return parse<pid_t>(rest.substr(0, rest.find(' ')));
}

// Children of this process, adopted ones included.
std::vector<pid_t> children()
{
    std::vector<pid_t> found;
    DIR* folder = ::opendir("/proc");
    if (folder == nullptr) {
        return found;
    }
    while (const dirent* entry = ::readdir(folder)) {
        const std::optional<pid_t> pid = parse<pid_t>(entry->d_name);
        if (pid && parent_of(*pid) == ::getpid()) {
            found.push_back(*pid);
        }
    }
    ::closedir(folder);
    return found;
}

class keeper
{
public:
    keeper(int control, int signals, pid_t worker, milliseconds stop_timeout)
        : control_(control), signals_(signals), worker_(worker), stop_timeout_(stop_timeout)
    {
    }

    // Waits until the worker has ended, and ends it when it is time; what it leaves behind too.
    int run()
    {
        while (!reap()) {
            wait(until_kill());
            if (kill_at_ && clock::now() >= *kill_at_) {
                ::kill(-worker_, SIGKILL);
                kill_at_.reset();
                killed_ = true;
            }
        }
        sweep();
        report(control_, (WIFSIGNALED(status_) ? "signal " : "exited ") + std::to_string(code()) + "\n");
        return WIFSIGNALED(status_) ? 128 + code() : code();
    }

private:
    [[nodiscard]] int code() const { return WIFSIGNALED(status_) ? WTERMSIG(status_) : WEXITSTATUS(status_); }

    [[nodiscard]] std::optional<milliseconds> until_kill() const
    {
        if (!kill_at_) {
            return std::nullopt;
        }
        return std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(*kill_at_ - clock::now()));
    }

    void stop()
    {
        if (kill_at_ || killed_) {
            return;
        }
        ::kill(-worker_, SIGTERM);
        ::kill(-worker_, SIGCONT); // a stopped process does not see it before
        kill_at_ = clock::now() + stop_timeout_;
    }

    // Until a signal or word from the gateway comes, or the time is over.
    void wait(std::optional<milliseconds> time)
    {
        std::array<pollfd, 2> watched{pollfd{signals_, POLLIN, 0}, pollfd{deaf_ ? -1 : control_, POLLIN, 0}};
        if (::poll(watched.data(), watched.size(), time ? static_cast<int>(time->count()) : -1) <= 0) {
            return;
        }
        if (watched[0].revents != 0) {
            signalfd_siginfo seen{};
            if (::read(signals_, &seen, sizeof(seen)) == sizeof(seen) && seen.ssi_signo != SIGCHLD) {
                stop();
            }
        }
        if (watched[1].revents != 0) {
            std::array<char, 64> ignored{};
            const ssize_t got = ::recv(control_, ignored.data(), ignored.size(), MSG_DONTWAIT);
            if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
                deaf_ = true;
                stop();
            }
        }
    }

    // True once the worker has ended. Its group is killed before its id is given free, so that no other can
    // have it.
    bool reap()
    {
        while (true) {
            siginfo_t seen{};
            if (::waitid(P_ALL, 0, &seen, WEXITED | WNOHANG | WNOWAIT) != 0 || seen.si_pid == 0) {
                return false;
            }
            const bool ours = seen.si_pid == worker_;
            if (ours) {
                ::kill(-worker_, SIGKILL);
            }
            int status = 0;
            ::waitpid(seen.si_pid, &status, 0);
            if (ours) {
                status_ = status;
                return true;
            }
        }
    }

    // Kills what is left: this process adopts every descendant whose own parent has ended, also from other
    // groups.
    void sweep()
    {
        const clock::time_point until = clock::now() + sweep_time;
        while (clock::now() < until) {
            pid_t gone = 0;
            do {
                gone = ::waitpid(-1, nullptr, WNOHANG);
            } while (gone > 0);
            if (gone < 0) {
                return;
            }
            for (const pid_t each : children()) {
                ::kill(each, SIGKILL);
            }
            pollfd watched{signals_, POLLIN, 0};
            signalfd_siginfo seen{};
            if (::poll(&watched, 1, 50) > 0) {
                (void)!::read(signals_, &seen, sizeof(seen));
            }
        }
    }

    const int control_;
    const int signals_;
    const pid_t worker_;
    const milliseconds stop_timeout_;
    std::optional<clock::time_point> kill_at_; // SIGTERM was sent
    bool killed_ = false;
    bool deaf_ = false; // the gateway has closed its end
    int status_ = 0;
};

int could_not_run(int control, const char* command, const char* directory, int reason)
{
    const bool folder_is_there = *directory == '\0' || ::access(directory, X_OK) == 0;
    const std::string text = "cannot run " + std::string(command) +
                             (*directory == '\0' ? "" : " in " + std::string(directory)) + ": " +
                             (folder_is_there ? "" : "the directory: ") + std::strerror(reason);
    std::fprintf(stderr, "%s\n", text.c_str());
    report(control, "failed " + text + "\n");
    return reason == ENOENT ? 127 : 126;
}

} // namespace

int run_launcher(int argc, char** argv)
{
    // Arguments: they come from the gateway, so anything odd is somebody trying this by hand.
    const std::optional<int> given = argc > 6 ? parse<int>(argv[2]) : std::nullopt;
    const std::optional<int> stop_ms = argc > 6 ? parse<int>(argv[3]) : std::nullopt;
    const std::optional<rlim_t> files = argc > 6 ? parse<rlim_t>(argv[4]) : std::nullopt;
    if (!given || *given < 3 || !stop_ms || *stop_ms < 0 || !files || ::fcntl(*given, F_GETFD) < 0) {
        std::fputs(
            "the gateway itself starts this: "
            "--worker-launcher FD STOP_MS FILES DIRECTORY COMMAND [ARGUMENT...]\n",
            stderr
        );
        return 2;
    }
    const descriptor control(*given);
    const char* directory = argv[5];
    char** command = argv + 6;
    close_others(control.get());
    ::fcntl(control.get(), F_SETFD, FD_CLOEXEC);
    ::prctl(PR_SET_NAME, "worker-launcher");
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);

    const sigset_t watched = set_of({SIGCHLD, SIGTERM, SIGINT, SIGHUP});
    ::sigprocmask(SIG_SETMASK, &watched, nullptr);
    const descriptor signals(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
    std::array<int, 2> ends{};
    if (!signals || ::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return could_not_run(control.get(), command[0], directory, errno);
    }

    // The pipe tells whether exec went well: it closes by itself then, else it carries errno.
    const descriptor told(ends[0]);
    descriptor telling(ends[1]);
    const pid_t launcher = ::getpid();
    const pid_t worker = ::fork();
    if (worker == 0) {
        become_worker(launcher, *files, directory, command);
        const int reason = errno;
        (void)!::write(telling.get(), &reason, sizeof(reason));
        ::_exit(127);
    }
    if (worker < 0) {
        return could_not_run(control.get(), command[0], directory, errno);
    }
    telling.reset();
    int reason = 0;
    ssize_t got = 0;
    do {
        got = ::read(told.get(), &reason, sizeof(reason));
    } while (got < 0 && errno == EINTR);
    if (got == static_cast<ssize_t>(sizeof(reason))) {
        ::waitpid(worker, nullptr, 0);
        return could_not_run(control.get(), command[0], directory, reason);
    }

    // Its output is the worker's alone: an end of file there means that the worker's side is closed.
    if (const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC); nothing >= 0) {
        ::dup2(nothing, STDOUT_FILENO);
        ::dup2(nothing, STDERR_FILENO);
        ::close(nothing);
    }
    report(control.get(), "started " + std::to_string(worker) + "\n");
    return keeper(control.get(), signals.get(), worker, milliseconds{*stop_ms}).run();
}

} // namespace gw::workers
