#include "workers/spawn.hpp"

#include "workers/launcher.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

namespace gw::workers {
namespace {

// The limit of open files before this process raised its own: select() and programs that walk over every
// possible descriptor do not bear a large one.
const rlim_t usual_files = [] {
    rlimit is{};
    ::getrlimit(RLIMIT_NOFILE, &is);
    return is.rlim_cur;
}();

std::unexpected<failure> cannot(const char* what, int reason)
{
    return std::unexpected(failure{
        .what = code::unavailable,
        .from = origin::gateway,
        .again = retry::safe,
        .text = "the worker's process could not be started",
        .detail = std::string(what) + ": " + std::strerror(reason),
    });
}

// Away from 0 to 3, which the launcher's own descriptors are put on.
descriptor high(int number)
{
    const descriptor low(number);
    return descriptor(low ? ::fcntl(number, F_DUPFD_CLOEXEC, 10) : -1);
}

std::vector<char*> pointers(const std::vector<std::string>& texts)
{
    std::vector<char*> made;
    for (const std::string& text : texts) {
        made.push_back(const_cast<char*>(text.c_str())); // posix_spawn does not write to them
    }
    made.push_back(nullptr);
    return made;
}

constexpr int control_number = 3;

// What posix_spawn is told, given back on every way out.
struct instructions
{
    posix_spawn_file_actions_t files{};
    posix_spawnattr_t attributes{};

    instructions()
    {
        ::posix_spawn_file_actions_init(&files);
        ::posix_spawnattr_init(&attributes);
    }
    instructions(const instructions&) = delete;
    instructions& operator=(const instructions&) = delete;
    ~instructions()
    {
        ::posix_spawnattr_destroy(&attributes);
        ::posix_spawn_file_actions_destroy(&files);
    }
};

// Binds to a loopback port (0: any) and lets go of it. SO_REUSEADDR on a given one: connections of an earlier
// worker that linger do not count; a new one has none at all.
std::optional<std::uint16_t> try_port(std::uint16_t port)
{
    const descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int on = port == 0 ? 0 : 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (::bind(socket.get(), generic, size) != 0 || ::getsockname(socket.get(), generic, &size) != 0) {
        return std::nullopt;
    }
    return ntohs(address.sin_port);
}

} // namespace

result<launched> launch(const launch_order& order)
{
    // Descriptors.
    std::array<int, 2> pair{-1, -1};
    std::array<int, 2> pipe{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
        return cannot("socketpair", errno);
    }
    descriptor ours(pair[0]);
    const descriptor theirs = high(pair[1]);
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
        return cannot("pipe", errno);
    }
    descriptor reads(pipe[0]);
    const descriptor writes = high(pipe[1]);
    const descriptor nothing = high(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!theirs || !writes || !nothing) {
        return cannot("descriptors", errno);
    }
    ::fcntl(ours.get(), F_SETFL, O_NONBLOCK);
    ::fcntl(reads.get(), F_SETFL, O_NONBLOCK);

    // The launcher has 0 to 3, every signal at its default and none blocked, and a session of its own, so
    // that an interrupt typed at the terminal reaches the gateway alone.
    instructions how;
    ::posix_spawn_file_actions_adddup2(&how.files, nothing.get(), STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&how.files, writes.get(), STDOUT_FILENO);
    ::posix_spawn_file_actions_adddup2(&how.files, writes.get(), STDERR_FILENO);
    ::posix_spawn_file_actions_adddup2(&how.files, theirs.get(), control_number);
    sigset_t all;
    sigset_t none;
    ::sigfillset(&all);
    ::sigemptyset(&none);
    ::posix_spawnattr_setsigdefault(&how.attributes, &all);
    ::posix_spawnattr_setsigmask(&how.attributes, &none);
    ::posix_spawnattr_setflags(
        &how.attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID
    );

    std::vector<std::string> arguments{
        "fourways",
        launcher_flag,
        std::to_string(control_number),
        std::to_string(order.stop_timeout.count()),
        std::to_string(usual_files),
        order.directory,
    };
    arguments.insert(arguments.end(), order.command.begin(), order.command.end());
    launched made{.control = std::move(ours), .output = std::move(reads)};
    const int fault = ::posix_spawn(
        &made.launcher,
        order.executable.c_str(),
        &how.files,
        &how.attributes,
        pointers(arguments).data(),
        pointers(order.environment).data()
    );
    if (fault != 0) {
        return cannot(order.executable.c_str(), fault);
    }
    return made;
}

result<std::uint16_t> free_port()
{
    const std::optional<std::uint16_t> port = try_port(0);
    if (!port) {
        return cannot("a free port", errno);
    }
    return *port;
}

bool port_taken(std::uint16_t port)
{
    return !try_port(port) && errno == EADDRINUSE;
}

} // namespace gw::workers
