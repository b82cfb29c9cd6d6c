// What answers behind the proxies that are measured: one epoll loop that does as little as it can.
//   POST .../chat/completions           a chat answer of 1.7 KB; with `"stream":true` events of 120 bytes, 5
//   ms apart POST .../hold                       the same stream, silent behind its first event POST anything
//   else                  takes the body; answers [{"label":"LENGTH-SUM","score":0.5}] POST .../limited/...
//   429 with `Retry-After: 2`; hits are counted GET  /open                          how many streams are
//   open;  GET /hits: how often each limited second was hit
//
// usage: upstream PORT
#include "answers.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <netinet/tcp.h>
#include <set>
#include <string>
#include <string_view>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

using gw::bench::sum;

struct connection
{
    explicit connection(int its) : fd(its) {}
    int fd;
    std::string head; // what came of it, and what came behind it
    bool in_body = false;
    std::uint64_t left = 0;
    sum body;
    std::string small; // the first bytes of the body: enough to see `"stream":true`
    std::string path;
    std::string out; // not taken by the kernel yet
    bool streams = false;
    bool holds = false;
    int sent = 0; // events of the stream
};

int loop_fd = -1;
std::set<connection*> streams;
std::vector<std::uint64_t> hits; // ms since the start
std::chrono::steady_clock::time_point began = std::chrono::steady_clock::now();
char buffer[1 << 20];

std::string with_head(std::string_view status, std::string_view fields, std::string_view body)
{
    return "HTTP/1.1 " + std::string(status) + "\r\nContent-Type: application/json\r\n" +
           std::string(fields) + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
           std::string(body);
}

bool send_out(connection& to, std::string_view bytes)
{
    if (to.out.empty()) {
        const ssize_t sent = ::send(to.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN) {
            return false;
        }
        bytes.remove_prefix(sent < 0 ? 0 : static_cast<std::size_t>(sent));
    }
    if (!bytes.empty()) {
        to.out += bytes;
        epoll_event event{.events = EPOLLIN | EPOLLOUT, .data = {.ptr = &to}};
        ::epoll_ctl(loop_fd, EPOLL_CTL_MOD, to.fd, &event);
    }
    return true;
}

std::string chunk(std::string_view text)
{
    char size[16];
    std::snprintf(size, sizeof size, "%zx\r\n", text.size());
    return size + std::string(text) + "\r\n";
}

bool answer(connection& to)
{
    if (to.path.starts_with("/open")) {
        return send_out(to, with_head("200 OK", "", std::to_string(streams.size())));
    }
    if (to.path.starts_with("/hits")) {
        std::string all = "[";
        for (const auto each : hits) {
            all += (all.size() > 1 ? "," : "") + std::to_string(each);
        }
        return send_out(to, with_head("200 OK", "", all + "]"));
    }
    if (to.path.find("limited") != std::string::npos) {
        const auto now = std::chrono::steady_clock::now() - began;
        hits.push_back(
            static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count())
        );
        return send_out(
            to, with_head("429 Too Many Requests", "Retry-After: 2\r\n", R"({"error":"limited"})")
        );
    }
    if (!to.path.ends_with("/chat/completions")) {
        static const std::string tail = "\",\"score\":0.5}]";
        return send_out(to, with_head("200 OK", "", "[{\"label\":\"" + to.body.text() + tail));
    }
    if (to.small.find("\"stream\":true") == std::string::npos) {
        static const std::string plain = with_head("200 OK", "", gw::bench::chat_answer());
        return send_out(to, plain);
    }
    to.streams = true;
    to.holds = to.small.find("hold still") != std::string::npos;
    to.sent = 1;
    streams.insert(&to);
    return send_out(
        to,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n" +
            chunk(gw::bench::event(0))
    );
}

// Takes what `bytes` brings; false: the connection is over.
bool take(connection& from, std::string_view bytes)
{
    while (!bytes.empty()) {
        if (!from.in_body) {
            from.head += bytes;
            const auto end = from.head.find("\r\n\r\n");
            if (end == std::string::npos) {
                return from.head.size() < 65536;
            }
            const std::string head = from.head.substr(0, end + 2);
            const std::string rest = from.head.substr(end + 4);
            const auto path = head.find(' ') + 1;
            from.path = head.substr(path, head.find(' ', path) - path);
            from.left = 0;
            for (std::size_t line = 0;
                 (line = head.find("\r\n", line)) != std::string::npos && line + 2 < head.size();) {
                line += 2;
                if (::strncasecmp(head.c_str() + line, "content-length:", 15) == 0) {
                    from.left = std::strtoull(head.c_str() + line + 15, nullptr, 10);
                }
            }
            from.in_body = true;
            from.body = {};
            from.small.clear();
            from.head.clear();
            if (from.left == 0) {
                from.in_body = false;
                if (!answer(from)) {
                    return false;
                }
            }
            if (rest.empty()) {
                return true;
            }
            return take(from, rest);
        }
        const auto now = bytes.substr(0, from.left);
        from.left -= now.size();
        from.body.add(now);
        if (from.small.size() < 4096) {
            from.small += now.substr(0, 4096 - from.small.size());
        }
        bytes.remove_prefix(now.size());
        if (from.left == 0) {
            from.in_body = false;
            if (!answer(from)) {
                return false;
            }
        }
    }
    return true;
}

void end(connection* it)
{
    streams.erase(it);
    ::close(it->fd);
    delete it;
}

} // namespace

int main(int count, char** words)
{
    if (count != 2) {
        std::fputs("usage: upstream PORT\n", stderr);
        return 2;
    }
    const int on = 1;
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_port = htons(static_cast<std::uint16_t>(std::atoi(words[1])));
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0 ||
        ::listen(listener, 8192) != 0) {
        std::perror("upstream");
        return 1;
    }
    const int pace = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    const itimerspec every{
        .it_interval = {.tv_sec = 0, .tv_nsec = 5'000'000}, .it_value = {.tv_sec = 0, .tv_nsec = 5'000'000}
    };
    ::timerfd_settime(pace, 0, &every, nullptr);

    loop_fd = ::epoll_create1(0);
    connection door(listener);
    connection tick(pace);
    for (connection* each : {&door, &tick}) {
        epoll_event event{.events = EPOLLIN, .data = {.ptr = each}};
        ::epoll_ctl(loop_fd, EPOLL_CTL_ADD, each->fd, &event);
    }
    while (true) {
        epoll_event events[512];
        const int ready = ::epoll_wait(loop_fd, events, 512, -1);
        for (int i = 0; i < ready; ++i) {
            auto* it = static_cast<connection*>(events[i].data.ptr);
            if (it == &door) {
                for (int fd = 0; (fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
                    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                    auto* made = new connection(fd);
                    epoll_event event{.events = EPOLLIN, .data = {.ptr = made}};
                    ::epoll_ctl(loop_fd, EPOLL_CTL_ADD, fd, &event);
                }
                continue;
            }
            if (it == &tick) {
                std::uint64_t times = 0;
                (void)!::read(pace, &times, sizeof times);
                const std::vector<connection*> all(streams.begin(), streams.end());
                for (connection* each : all) {
                    if (!each->holds && !send_out(*each, chunk(gw::bench::event(each->sent++)))) {
                        ::shutdown(each->fd, SHUT_RDWR); // its own event ends it
                        streams.erase(each);
                    }
                }
                continue;
            }
            bool good = true;
            if ((events[i].events & EPOLLOUT) != 0 && !it->out.empty()) {
                const std::string waiting = std::exchange(it->out, {});
                epoll_event event{.events = EPOLLIN, .data = {.ptr = it}};
                ::epoll_ctl(loop_fd, EPOLL_CTL_MOD, it->fd, &event);
                good = send_out(*it, waiting);
            }
            if (good && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
                const ssize_t got = ::recv(it->fd, buffer, sizeof buffer, 0);
                good =
                    got > 0 ? take(*it, {buffer, static_cast<std::size_t>(got)}) : got < 0 && errno == EAGAIN;
            }
            if (!good) {
                end(it);
            }
        }
    }
}
