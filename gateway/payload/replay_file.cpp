#include "payload/replay_file.hpp"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

namespace gw::payloads {
namespace {

// A file without a name that dies with its descriptor; -1 and errno when there is none.
int open_unnamed(const std::string& dir)
{
    const int fd = ::open(dir.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) {
        return fd;
    }
    // A file system without O_TMPFILE: a random name, gone at once.
    std::string name = dir + "/fourways-XXXXXX";
    const int named = ::mkostemp(name.data(), O_CLOEXEC);
    if (named >= 0) {
        ::unlink(name.c_str());
    }
    return named;
}

} // namespace

replay::file::~file()
{
    if (fd_ >= 0) {
        store_.submit([fd = fd_] { ::close(fd); }); // freeing a large file takes time
    }
}

int replay::file::write(const std::vector<part>& parts, std::uint64_t offset, std::uint64_t& written)
{
    if (fd_ < 0) {
        fd_ = open_unnamed(store_.limits().dir);
        if (fd_ < 0) {
            return errno;
        }
    }
    std::size_t at = 0;     // the part
    std::size_t inside = 0; // bytes of it that are written
    while (at < parts.size()) {
        std::array<iovec, 64> vectors{};
        std::size_t count = 0;
        for (std::size_t each = at; each < parts.size() && count < vectors.size(); ++each) {
            const std::size_t skip = each == at ? inside : 0;
            vectors[count++] = {
                .iov_base = parts[each].bytes.get() + skip, .iov_len = parts[each].size - skip
            };
        }
        const ssize_t done =
            ::pwritev(fd_, vectors.data(), static_cast<int>(count), static_cast<off_t>(offset + written));
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return done < 0 ? errno : ENOSPC;
        }
        written += static_cast<std::uint64_t>(done);
        inside += static_cast<std::size_t>(done);
        while (at < parts.size() && inside >= parts[at].size) {
            inside -= parts[at].size;
            ++at;
        }
    }
    return 0;
}

int replay::file::read(char* to, std::size_t length, std::uint64_t offset, std::size_t& done) const
{
    while (done < length) {
        const ssize_t got = ::pread(fd_, to + done, length - done, static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? errno : EIO;
        }
        done += static_cast<std::size_t>(got);
    }
    return 0;
}

} // namespace gw::payloads
