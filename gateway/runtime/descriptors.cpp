#include "runtime/descriptors.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace gw::runtime {
namespace {

constexpr std::size_t usual_most = 4096;

std::size_t count_of(rlim_t value)
{
    constexpr rlim_t enough = 1U << 30U; // also for "no limit"
    return static_cast<std::size_t>(std::min(value, enough));
}

} // namespace

open_files raise_open_files()
{
    rlimit is{};
    if (::getrlimit(RLIMIT_NOFILE, &is) != 0) {
        return {.before = 1024, .now = 1024};
    }
    open_files made{.before = count_of(is.rlim_cur), .now = count_of(is.rlim_cur)};
    const rlimit raised{.rlim_cur = is.rlim_max, .rlim_max = is.rlim_max};
    if (is.rlim_cur != is.rlim_max && ::setrlimit(RLIMIT_NOFILE, &raised) == 0) {
        made.now = count_of(raised.rlim_cur);
    }
    return made;
}

std::size_t most_connections(std::size_t wanted, std::size_t files, std::size_t cores, std::size_t listeners)
{
    if (wanted == 0) {
        return std::max<std::size_t>(1, std::min(usual_most, files / 2));
    }
    // Loops, acceptors, connections that are told to go away; standard streams, admin, spool, names.
    const std::size_t own = 8 * cores + listeners * (1 + most_turned_away) + 64;
    return std::max<std::size_t>(1, std::min(wanted, files > own ? files - own : 1));
}

spare_descriptors::spare_descriptors() : nothing_(::open("/dev/null", O_RDONLY | O_CLOEXEC))
{
    fill();
}

spare_descriptors::~spare_descriptors()
{
    while (spend()) {
    }
    ::close(nothing_);
}

bool spare_descriptors::spend()
{
    const auto at = std::ranges::find_if(held_, [](int fd) { return fd >= 0; });
    if (at == held_.end()) {
        return false;
    }
    ::close(std::exchange(*at, -1));
    return true;
}

void spare_descriptors::fill()
{
    for (int& each : held_) {
        if (each < 0) {
            each = ::fcntl(nothing_, F_DUPFD_CLOEXEC, 0);
        }
    }
}

void spare_descriptors::keep(int used)
{
    const auto at = std::ranges::find_if(held_, [](int fd) { return fd < 0; });
    if (at != held_.end() && ::dup3(nothing_, used, O_CLOEXEC) == used) {
        *at = used;
    } else {
        ::close(used);
    }
}

} // namespace gw::runtime
