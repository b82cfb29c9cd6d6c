// What the fuzz targets share: a property that does not hold is a crash, and inputs come in exact buffers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace gw {

inline void require(bool holds, const char* property)
{
    if (!holds) {
        std::fprintf(stderr, "does not hold: %s\n", property);
        std::abort();
    }
}

// Calls f(block) for consecutive blocks of at most `size` bytes, each alone in its own allocation, so that
// the address sanitizer sees a read past its end and a view that outlives it. Stops when f returns false.
template <class F>
void in_blocks(std::string_view input, std::size_t size, F f)
{
    while (!input.empty()) {
        const std::string_view block = input.substr(0, size);
        const std::unique_ptr<char[]> copy(new char[block.size()]);
        block.copy(copy.get(), block.size());
        if (!f(std::string_view{copy.get(), block.size()})) {
            return;
        }
        input.remove_prefix(block.size());
    }
}

} // namespace gw

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

// The entry that libFuzzer calls, with the input as text.
#define GW_FUZZ(input)                                                                                       \
    static void fuzz_one(std::string_view input);                                                            \
    int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)                                   \
    {                                                                                                        \
        fuzz_one({reinterpret_cast<const char*>(data), size});                                               \
        return 0;                                                                                            \
    }                                                                                                        \
    static void fuzz_one(std::string_view input)
