// The inner loops of base64: whole groups only, no state, no padding. One table of function pointers, so that
// a vector kernel can stand in for the portable one without its callers noticing; any two kernels give the
// same bytes. Pure; safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace gw::payloads {

struct base64_kernel
{
    const char* name;

    // 3 * triples bytes to 4 * triples characters. `out` does not overlap `in`.
    void (*encode_blocks)(const std::uint8_t* in, std::size_t triples, char* out);

    // 4 * quads characters to 3 * quads bytes; writes nothing beyond them.
    //   returns  how many quads were decoded before the first one that holds a character outside the alphabet
    //            (`=` is outside); equal to `quads` when all are good. What lies in `out` behind them is
    //            unspecified
    std::size_t (*decode_blocks)(const char* in, std::size_t quads, std::uint8_t* out);
};

// Twelve bits at a time out of tables; runs everywhere.
[[nodiscard]] const base64_kernel& portable_kernel();

// All that this machine can run, the fastest first; the portable one is always the last.
[[nodiscard]] std::span<const base64_kernel* const> kernels();

// The first of them; chosen once.
[[nodiscard]] const base64_kernel& best_kernel();

// The six bits of a character of the standard alphabet, 0xff for every other byte.
[[nodiscard]] std::uint8_t base64_value(char character);

} // namespace gw::payloads
