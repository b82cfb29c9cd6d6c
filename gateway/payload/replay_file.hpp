// What a log shares with the side threads: its file, the way back to its thread, and a reader's buffer.
// Private to replay*.cpp.
#pragma once

#include "payload/replay.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

namespace gw::payloads {

[[nodiscard]] inline std::string describe(int error)
{
    return std::error_code(error, std::generic_category()).message();
}

// Opened, written, read and closed by side threads only.
class replay::file
{
public:
    explicit file(spool& store) : store_(store) {}
    ~file();
    file(const file&) = delete;
    file& operator=(const file&) = delete;

    struct part
    {
        std::shared_ptr<char[]> bytes;
        std::size_t size = 0;
    };

    // Writes the parts one behind the other; opens the file when there is none yet.
    //   written  how much was, also with an error
    //   returns  errno, 0: all is written
    int write(const std::vector<part>& parts, std::uint64_t offset, std::uint64_t& written);

    // Reads until `length` bytes are there.
    //   returns  errno; the file's end is an error too (EIO)
    int read(char* to, std::size_t length, std::uint64_t offset, std::size_t& done) const;

private:
    spool& store_;
    int fd_ = -1;
};

struct replay::link
{
    replay* owner; // looked at on the owner's thread only
    post_fn post;
};

struct replay::filling
{
    reader* owner = nullptr; // looked at on the owner's thread only
    std::shared_ptr<char[]> bytes;
    std::uint64_t begin = 0;
    std::size_t size = 0;
    bool busy = false; // a side thread writes into it
};
} // namespace gw::payloads
