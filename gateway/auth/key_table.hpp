// Every client key's SHA-256, found in a time that tells nothing. Made once per settings; read from any
// thread.
//
// A digest's first bits choose a bucket; every bucket has the same number of slots, filled up with empty
// ones, and all of them are compared by CRYPTO_memcmp, whichever matches. So a look-up does the same work for
// a good key, a near one and one that nobody ever had, and that work does not grow with the number of keys as
// a walk over all digests does. Which bucket is looked at depends on the SHA-256 of what the caller sent,
// which the caller knows.
#pragma once

#include "config/settings.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gw::auth {

class key_table
{
public:
    // REQUIRES the settings outlive the table.
    explicit key_table(const config::settings& of);

    // No other table of this process has the same one.
    [[nodiscard]] std::uint64_t serial() const { return serial_; }
    [[nodiscard]] bool open() const { return open_; } // no `clients:`: whoever reaches the listener may call
    // The client of a key's digest (32 bytes); null: nobody's.
    [[nodiscard]] const config::client* find(std::string_view digest) const;

private:
    struct slot
    {
        std::array<char, 32> digest{};
        const config::client* who = nullptr;
    };

    std::uint64_t serial_;
    bool open_;
    std::size_t buckets_ = 1; // a power of two
    std::size_t width_ = 1;   // slots of each
    std::vector<slot> slots_;
};

} // namespace gw::auth
