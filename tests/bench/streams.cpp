// Holds many event streams at once and tells what their reader sees: the time to the first event, how many
// events came, and how long the upstream held its streams after all readers vanished.
//
// usage: streams PORT COUNT SECONDS UPSTREAM_PORT REQUEST_FILE
//   PORT, COUNT, SECONDS   where the streams are asked for, how many, for how long
//   UPSTREAM_PORT          of tests/bench/upstream.cpp, which knows how many streams are open
//   REQUEST_FILE           the request, head and body, sent as it is
// Prints one JSON object: events, first_ms (sorted), freed_ms (-1: not within ten seconds), failed.
#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <netinet/tcp.h>
#include <string>
#include <string_view>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

using std::chrono::steady_clock;

struct stream
{
    int fd = -1;
    bool first = false;
    char last = 0; // of the bytes before, so that an event's end is found across reads
};

int connect_to(const char* port)
{
    sockaddr_in there{};
    there.sin_family = AF_INET;
    there.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&there), sizeof there) != 0) {
        std::perror("connect");
        std::exit(1);
    }
    return fd;
}

long open_streams(const char* port)
{
    const int fd = connect_to(port);
    const std::string_view ask = "GET /open HTTP/1.1\r\nHost: u\r\n\r\n";
    (void)!::send(fd, ask.data(), ask.size(), MSG_NOSIGNAL);
    char text[512] = {};
    const ssize_t got = ::recv(fd, text, sizeof text - 1, 0);
    ::close(fd);
    const std::string answer(text, got > 0 ? static_cast<std::size_t>(got) : 0);
    const auto body = answer.find("\r\n\r\n");
    return body == std::string::npos ? -1 : std::strtol(answer.c_str() + body + 4, nullptr, 10);
}

double ms(steady_clock::duration time)
{
    return std::chrono::duration<double, std::milli>(time).count();
}

} // namespace

int main(int count, char** words)
{
    if (count != 6) {
        std::fputs("usage: streams PORT COUNT SECONDS UPSTREAM_PORT REQUEST_FILE\n", stderr);
        return 2;
    }
    std::ifstream file(words[5], std::ios::binary);
    const std::string request(std::istreambuf_iterator<char>(file), {});
    const auto wanted = static_cast<std::size_t>(std::atoi(words[2]));

    // One after the other, so that each first event is timed alone; all are read from the start.
    const int loop = ::epoll_create1(0);
    std::vector<stream> all(wanted);
    std::vector<double> first;
    std::uint64_t events = 0;
    std::size_t failed = 0;
    static char buffer[1 << 16];
    const auto pump = [&](int timeout, steady_clock::time_point asked, const stream* awaited) {
        epoll_event ready[256];
        const int n = ::epoll_wait(loop, ready, 256, timeout);
        for (int i = 0; i < n; ++i) {
            auto& it = *static_cast<stream*>(ready[i].data.ptr);
            const ssize_t got = ::recv(it.fd, buffer, sizeof buffer, MSG_DONTWAIT);
            if (got <= 0) {
                if (got < 0 && errno == EAGAIN) {
                    continue;
                }
                ++failed;
                ::epoll_ctl(loop, EPOLL_CTL_DEL, it.fd, nullptr);
                it.first = true;
                continue;
            }
            const std::string_view bytes(buffer, static_cast<std::size_t>(got));
            events += it.last == '\n' && bytes.front() == '\n' ? 1 : 0;
            for (std::size_t at = 0; (at = bytes.find("\n\n", at)) != std::string_view::npos; at += 2) {
                ++events;
            }
            it.last = bytes.back();
            if (!it.first && bytes.find("data: ") != std::string_view::npos) {
                it.first = true;
                if (&it == awaited) {
                    first.push_back(ms(steady_clock::now() - asked));
                }
            }
        }
    };
    for (auto& each : all) {
        each.fd = connect_to(words[1]);
        epoll_event event{.events = EPOLLIN, .data = {.ptr = &each}};
        ::epoll_ctl(loop, EPOLL_CTL_ADD, each.fd, &event);
        const auto asked = steady_clock::now();
        (void)!::send(each.fd, request.data(), request.size(), MSG_NOSIGNAL);
        while (!each.first && steady_clock::now() - asked < std::chrono::seconds(5)) {
            pump(100, asked, &each);
        }
    }

    // All flow: what is counted from here on.
    events = 0;
    std::printf("{\"flowing\":true}\n");
    std::fflush(stdout);
    const auto until =
        steady_clock::now() + std::chrono::milliseconds(static_cast<long>(std::atof(words[3]) * 1000));
    while (steady_clock::now() < until) {
        pump(20, {}, nullptr);
    }
    const std::uint64_t counted = events;
    std::printf("{\"counted\":%llu}\n", static_cast<unsigned long long>(counted));
    std::fflush(stdout);
    (void)!::getchar(); // whoever measures has read the processes' times

    const auto left = steady_clock::now();
    for (const auto& each : all) {
        ::close(each.fd);
    }
    double freed = -1;
    while (steady_clock::now() - left < std::chrono::seconds(10)) {
        if (open_streams(words[4]) == 0) {
            freed = ms(steady_clock::now() - left);
            break;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::ranges::sort(first);
    std::printf(
        "{\"events\":%llu,\"freed_ms\":%.2f,\"failed\":%zu,\"first_ms\":[",
        static_cast<unsigned long long>(counted),
        freed,
        failed
    );
    for (std::size_t i = 0; i < first.size(); ++i) {
        std::printf("%s%.3f", i == 0 ? "" : ",", first[i]);
    }
    std::puts("]}");
}
