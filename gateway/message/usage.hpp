// What an upstream said an answer cost. Absent numbers were not told.
#pragma once

#include <cstdint>
#include <optional>

namespace gw {

struct usage
{
    std::optional<std::uint64_t> input_tokens;
    std::optional<std::uint64_t> output_tokens;

    [[nodiscard]] bool empty() const { return !input_tokens && !output_tokens; }
};

} // namespace gw
