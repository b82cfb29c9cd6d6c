// How far does a text go on in the alphabet of base64? The inner loop of looking at long strings, at the
// speed of memory: a table of function pointers chosen at run time, any two of which find the same. Pure;
// safe from any thread. Internal to wire/.
//   source   RFC 4648 section 4
#pragma once

#include <span>

namespace gw::wire {

struct letters_kernel
{
    const char* name;

    // The first character of [at, end) that is none of A-Z a-z 0-9 + /, else end.
    const char* (*skip)(const char* at, const char* end);
};

// All that this machine can run, the fastest first; the portable one is always the last.
[[nodiscard]] std::span<const letters_kernel* const> letters_kernels();

// With the first of them; chosen once.
[[nodiscard]] const char* skip_base64_letters(const char* at, const char* end);

} // namespace gw::wire
