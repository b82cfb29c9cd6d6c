// What the base64 kernels share: the alphabet, its inverse, and the kernels that need instructions which not
// every machine has. Private to base64_*.cpp.
#pragma once

#include "payload/base64_kernel.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace gw::payloads {

inline constexpr std::string_view base64_alphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static_assert(base64_alphabet.size() == 64);

// The six bits of each character; 0xff outside the alphabet.
inline constexpr auto base64_values = [] {
    std::array<std::uint8_t, 256> made{};
    made.fill(0xff);
    for (std::size_t value = 0; value < base64_alphabet.size(); ++value) {
        made[static_cast<unsigned char>(base64_alphabet[value])] = static_cast<std::uint8_t>(value);
    }
    return made;
}();

#if defined(__x86_64__)
extern const base64_kernel avx2_kernel;
extern const base64_kernel avx512_kernel;
#endif

} // namespace gw::payloads
