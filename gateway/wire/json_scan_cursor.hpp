// Where in the block a scan stands; shared by the files of json_scanner alone.
#pragma once

#include "wire/json_scan.hpp"

#include <algorithm>

namespace gw::wire {

struct json_scanner::cursor
{
    const char* begin;
    const char* at;
    const char* end;
    std::uint64_t base; // offset of `begin` in the body

    [[nodiscard]] std::uint64_t offset() const { return base + static_cast<std::uint64_t>(at - begin); }

    // The pointer to an offset, but not beyond the block.
    [[nodiscard]] const char* up_to(std::uint64_t offset_in_body) const
    {
        const auto size = static_cast<std::uint64_t>(end - begin);
        return begin + std::min(size, offset_in_body <= base ? 0 : offset_in_body - base);
    }
};

// How much of a long string is handed out for a look at it.
inline constexpr std::size_t json_head_size = 256;

} // namespace gw::wire
