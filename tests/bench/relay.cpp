// The floor: a blind relay of bytes, one upstream connection per client connection, one epoll loop. It parses
// nothing; a proxy that knows HTTP cannot spend much less.
//
// usage: relay LISTEN_PORT UPSTREAM_PORT
#include <arpa/inet.h>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

struct side
{
    int fd = -1;
    side* other = nullptr;
    bool closed = false;
    std::vector<char> held; // what the other side did not take yet
    std::size_t from = 0;
};

int loop_fd = -1;
char buffer[1 << 20];

sockaddr_in loopback(const char* port)
{
    sockaddr_in made{};
    made.sin_family = AF_INET;
    made.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
    made.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return made;
}

void watch(side& it, int how, unsigned events)
{
    epoll_event event{.events = events, .data = {.ptr = &it}};
    ::epoll_ctl(loop_fd, how, it.fd, &event);
}

void close_both(side& it)
{
    for (side* each : {&it, it.other}) {
        if (!each->closed) {
            each->closed = true;
            ::close(each->fd);
        }
    }
}

// Sends what is held for `to`; false: it broke.
bool flush(side& to)
{
    side& source = *to.other;
    while (source.from < source.held.size()) {
        const ssize_t sent =
            ::send(to.fd, source.held.data() + source.from, source.held.size() - source.from, MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN;
        }
        source.from += static_cast<std::size_t>(sent);
    }
    source.held.clear();
    source.from = 0;
    watch(to, EPOLL_CTL_MOD, EPOLLIN);
    watch(source, EPOLL_CTL_MOD, EPOLLIN);
    return true;
}

bool relay(side& from)
{
    const ssize_t got = ::recv(from.fd, buffer, sizeof buffer, 0);
    if (got <= 0) {
        return got < 0 && errno == EAGAIN;
    }
    ssize_t sent = ::send(from.other->fd, buffer, static_cast<std::size_t>(got), MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN) {
            return false;
        }
        sent = 0;
    }
    if (sent < got) { // read on when the other side has taken it
        from.held.assign(buffer + sent, buffer + got);
        watch(from, EPOLL_CTL_MOD, 0);
        watch(*from.other, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    return true;
}

} // namespace

int main(int count, char** words)
{
    if (count != 3) {
        std::fputs("usage: relay LISTEN_PORT UPSTREAM_PORT\n", stderr);
        return 2;
    }
    const int on = 1;
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in here = loopback(words[1]);
    const sockaddr_in there = loopback(words[2]);
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0 ||
        ::listen(listener, 4096) != 0) {
        std::perror("relay");
        return 1;
    }
    loop_fd = ::epoll_create1(0);
    side door{.fd = listener, .other = nullptr, .held = {}};
    watch(door, EPOLL_CTL_ADD, EPOLLIN);

    std::vector<side*> gone;
    while (true) {
        epoll_event events[512];
        const int ready = ::epoll_wait(loop_fd, events, 512, -1);
        for (int i = 0; i < ready; ++i) {
            side& it = *static_cast<side*>(events[i].data.ptr);
            if (&it == &door) {
                const int client = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
                const int upstream = ::socket(AF_INET, SOCK_STREAM, 0);
                if (client < 0 ||
                    ::connect(upstream, reinterpret_cast<const sockaddr*>(&there), sizeof there) != 0) {
                    ::close(client);
                    ::close(upstream);
                    continue;
                }
                auto* one = new side{.fd = client, .other = nullptr, .held = {}};
                auto* two = new side{.fd = upstream, .other = one, .held = {}};
                one->other = two;
                for (side* each : {one, two}) {
                    ::setsockopt(each->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    watch(*each, EPOLL_CTL_ADD, EPOLLIN);
                }
                ::fcntl(upstream, F_SETFL, O_NONBLOCK);
                continue;
            }
            if (it.closed) {
                continue;
            }
            bool good = true;
            if ((events[i].events & EPOLLOUT) != 0) {
                good = flush(it);
            }
            if (good && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
                good = relay(it);
            }
            if (!good) {
                close_both(it);
                gone.push_back(&it);
            }
        }
        for (side* each : gone) { // no event of this round points at them any more
            delete each->other;
            delete each;
        }
        gone.clear();
    }
}
