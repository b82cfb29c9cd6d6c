// Blocking loopback sockets for tests: every wait has a deadline, so a fault is a failed test, never a hang.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace gw::test {

inline constexpr std::chrono::seconds patience{20
}; // far beyond what anything here takes, sanitizers included

class socket_fd
{
public:
    explicit socket_fd(int fd = -1) : fd_(fd) {}
    socket_fd(socket_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    socket_fd& operator=(socket_fd&& other) noexcept
    {
        close();
        fd_ = std::exchange(other.fd_, -1);
        return *this;
    }
    ~socket_fd() { close(); }

    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] bool open() const { return fd_ >= 0; }
    void close()
    {
        if (fd_ >= 0) {
            ::close(std::exchange(fd_, -1));
        }
    }
    void reset() // RST
    {
        const linger now{.l_onoff = 1, .l_linger = 0};
        ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close();
    }
    bool send(std::string_view bytes) const
    {
        while (!bytes.empty()) {
            const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
            if (n <= 0) {
                return false;
            }
            bytes.remove_prefix(static_cast<std::size_t>(n));
        }
        return true;
    }
    // Bytes, "" at the end of file, nullopt on an error or when `limit` is over.
    [[nodiscard]] std::optional<std::string> receive(std::chrono::milliseconds limit = patience) const
    {
        pollfd one{.fd = fd_, .events = POLLIN, .revents = 0};
        if (::poll(&one, 1, static_cast<int>(limit.count())) <= 0) {
            return std::nullopt;
        }
        std::string bytes(65536, '\0');
        const ssize_t n = ::recv(fd_, bytes.data(), bytes.size(), 0);
        if (n < 0) {
            return std::nullopt;
        }
        bytes.resize(static_cast<std::size_t>(n));
        return bytes;
    }

private:
    int fd_;
};

inline sockaddr_in loopback(std::uint16_t port)
{
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
}

inline socket_fd connect_to(std::uint16_t port)
{
    socket_fd made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at = loopback(port);
    if (::connect(made.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) { // NOLINT: the C API's way
        made.close();
    }
    const int on = 1;
    ::setsockopt(made.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return made;
}

// Listens on a free port.
inline std::pair<socket_fd, std::uint16_t> listen_somewhere()
{
    socket_fd made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in at = loopback(0);
    ::bind(made.get(), reinterpret_cast<sockaddr*>(&at), sizeof at); // NOLINT: the C API's way
    ::listen(made.get(), 128);
    socklen_t size = sizeof at;
    ::getsockname(made.get(), reinterpret_cast<sockaddr*>(&at), &size); // NOLINT: the C API's way
    return {std::move(made), ntohs(at.sin_port)};
}

// A port on which nobody listens.
inline std::uint16_t refusing_port()
{
    return listen_somewhere().second; // closed again here
}

// Polls until `holds` does.
template <class F>
bool eventually(F holds)
{
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!holds()) {
        if (std::chrono::steady_clock::now() > until) {
            return false;
        }
        ::poll(nullptr, 0, 2);
    }
    return true;
}

} // namespace gw::test
