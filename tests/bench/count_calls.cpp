// Counts the system calls of a program: preloaded (LD_PRELOAD), it stands before the C library's functions.
// The counters lie in the file that COUNT_CALLS names, mapped, so that whoever watches reads them while the
// program runs: for each function 16 bytes of name, then how often it was called and how often that came to
// EAGAIN (both 64 bits). What the C library does inside itself (a futex behind a mutex) does not come by
// here.
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

namespace {

struct counter
{
    std::array<char, 16> name;
    std::atomic<std::uint64_t> calls;
    std::atomic<std::uint64_t> again;
};
constexpr std::size_t most = 64;

counter* counters()
{
    static counter* const all = [] {
        const char* const file = std::getenv("COUNT_CALLS");
        const int fd = file == nullptr ? -1 : ::open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || ::ftruncate(fd, most * sizeof(counter)) != 0) {
            std::abort();
        }
        void* const made = ::mmap(nullptr, most * sizeof(counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (made == MAP_FAILED) {
            std::abort();
        }
        return static_cast<counter*>(made);
    }();
    return all;
}

std::atomic<std::size_t> next = 0;

template <class Function>
class counted
{
public:
    explicit counted(const char* name)
        : real_(reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name))), mine_(counters()[next++])
    {
        std::strncpy(mine_.name.data(), name, mine_.name.size() - 1);
    }
    template <class... Arguments>
    auto operator()(Arguments... arguments)
    {
        const auto got = real_(arguments...);
        mine_.calls.fetch_add(1, std::memory_order_relaxed);
        if (got < 0 && errno == EAGAIN) {
            mine_.again.fetch_add(1, std::memory_order_relaxed);
        }
        return got;
    }

private:
    Function* real_;
    counter& mine_;
};

} // namespace

#define COUNT_AS(function, result, name, parameters, arguments)                                              \
    extern "C" result function parameters                                                                    \
    {                                                                                                        \
        static counted<result parameters> one(#name);                                                        \
        return one arguments;                                                                                \
    }
#define COUNT(result, name, parameters, arguments) COUNT_AS(name, result, name, parameters, arguments)

COUNT(ssize_t, recv, (int fd, void* to, size_t size, int flags), (fd, to, size, flags))
COUNT(ssize_t, recvmsg, (int fd, msghdr* to, int flags), (fd, to, flags))
COUNT(ssize_t, send, (int fd, const void* from, size_t size, int flags), (fd, from, size, flags))
COUNT(ssize_t, sendmsg, (int fd, const msghdr* from, int flags), (fd, from, flags))
COUNT(ssize_t, read, (int fd, void* to, size_t size), (fd, to, size))
COUNT(ssize_t, readv, (int fd, const iovec* to, int count), (fd, to, count))
COUNT(ssize_t, write, (int fd, const void* from, size_t size), (fd, from, size))
COUNT(ssize_t, writev, (int fd, const iovec* from, int count), (fd, from, count))
COUNT(int, epoll_wait, (int fd, epoll_event* to, int most_, int timeout), (fd, to, most_, timeout))
COUNT(int, epoll_ctl, (int fd, int what, int on, epoll_event* event) noexcept, (fd, what, on, event))
COUNT(int, poll, (pollfd * all, nfds_t count, int timeout), (all, count, timeout))
COUNT(
    int,
    timerfd_settime,
    (int fd, int flags, const itimerspec* to, itimerspec* was) noexcept,
    (fd, flags, to, was)
)
COUNT(
    int,
    setsockopt,
    (int fd, int level, int name, const void* value, socklen_t size) noexcept,
    (fd, level, name, value, size)
)
COUNT(
    int,
    getsockopt,
    (int fd, int level, int name, void* value, socklen_t* size) noexcept,
    (fd, level, name, value, size)
)
COUNT(int, getpeername, (int fd, sockaddr* to, socklen_t* size) noexcept, (fd, to, size))
COUNT(int, getsockname, (int fd, sockaddr* to, socklen_t* size) noexcept, (fd, to, size))
COUNT(int, shutdown, (int fd, int how) noexcept, (fd, how))
COUNT(int, close, (int fd), (fd))
COUNT(int, accept, (int fd, sockaddr* from, socklen_t* size), (fd, from, size))
COUNT(int, connect, (int fd, const sockaddr* to, socklen_t size), (fd, to, size))
COUNT(int, accept4, (int fd, sockaddr* from, socklen_t* size, int flags), (fd, from, size, flags))
COUNT(
    ssize_t,
    recvfrom,
    (int fd, void* to, size_t size, int flags, sockaddr* from, socklen_t* length),
    (fd, to, size, flags, from, length)
)
COUNT(
    ssize_t,
    sendto,
    (int fd, const void* from, size_t size, int flags, const sockaddr* to, socklen_t length),
    (fd, from, size, flags, to, length)
)
COUNT(
    ssize_t,
    splice,
    (int from, off64_t* at, int to, off64_t* there, size_t size, unsigned flags),
    (from, at, to, there, size, flags)
)
// The header says `...`, and some C libraries include it: defined under another name.
extern "C" int ioctl_of_three(int fd, unsigned long what, void* on) noexcept asm("ioctl");
COUNT_AS(ioctl_of_three, int, ioctl, (int fd, unsigned long what, void* on) noexcept, (fd, what, on))
COUNT(int, socket, (int family, int kind, int protocol) noexcept, (family, kind, protocol))
// What callers that are built with _FORTIFY_SOURCE call instead.
COUNT(
    ssize_t, __recv_chk, (int fd, void* to, size_t size, size_t room, int flags), (fd, to, size, room, flags)
)
COUNT(ssize_t, __read_chk, (int fd, void* to, size_t size, size_t room), (fd, to, size, room))
COUNT(int, __poll_chk, (pollfd * all, nfds_t count, int timeout, size_t room), (all, count, timeout, room))
