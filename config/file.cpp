#include "config/file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gw::config {
namespace {

constexpr auto patience = std::chrono::seconds(5);

std::unexpected<std::string> cannot(int error)
{
    return std::unexpected("cannot be read: " + std::string(std::strerror(error)));
}

struct descriptor
{
    int fd;
    explicit descriptor(int opened) : fd(opened) {}
    descriptor(const descriptor&) = delete;
    descriptor& operator=(const descriptor&) = delete;
    ~descriptor()
    {
        if (fd >= 0) {
            ::close(fd);
        }
    }
};

} // namespace

std::expected<std::string, std::string> read_file(const std::string& name, std::size_t most)
{
    if (name.find('\0') != std::string::npos) {
        return cannot(ENOENT); // the system would see another name
    }
    const descriptor from(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    struct stat what{};
    if (from.fd < 0 || ::fstat(from.fd, &what) != 0) {
        return cannot(errno);
    }
    if (S_ISDIR(what.st_mode)) {
        return std::unexpected("cannot be read: it is a directory");
    }

    const auto until = std::chrono::steady_clock::now() + patience;
    std::string text;
    std::array<char, 64 * 1024> part; // NOLINT: read() fills it
    while (true) {
        const ssize_t got = ::read(from.fd, part.data(), std::min(part.size(), most - text.size() + 1));
        if (got > 0) {
            text.append(part.data(), static_cast<std::size_t>(got));
            if (text.size() > most) {
                return std::unexpected("is larger than " + std::to_string(most) + " bytes");
            }
            continue;
        }
        if (got == 0) {
            return text;
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno != EAGAIN) {
            return cannot(errno);
        }
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
        pollfd wait{.fd = from.fd, .events = POLLIN, .revents = 0};
        if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) == 0) {
            return std::unexpected("cannot be read: it is a pipe, and nobody writes to it");
        }
    }
}

} // namespace gw::config
