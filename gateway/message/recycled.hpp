// Memory for what every request makes and drops again: coroutine frames and the objects of its stages. Blocks
// of a few sizes are kept per thread and handed out again, most recently used first, so a request finds its
// memory in the cache; the allocator, which takes ten times as long for blocks over 1 KiB, is asked once per
// connection and not thirty times per request.
//
// All that `new` makes comes from here, too, if it is small: strings and lists of a few bytes make some
// twenty allocations per request, and with many requests at work glibc's own cache is too short for them.
//
// What a thread keeps is bounded (most_kept bytes of each kind), and given back when it ends. A block may be
// freed on another thread than it was made on. With AddressSanitizer and ThreadSanitizer every block comes
// from the allocator, which then sees its misuse.
#pragma once

#include <cstddef>

namespace gw::recycled_memory {

inline constexpr std::size_t largest = 16 * 1024; // larger blocks come from the allocator
inline constexpr std::size_t most_kept = 2 * 1024 * 1024;

[[nodiscard]] void* take(std::size_t size);        // throws std::bad_alloc
void give(void* block, std::size_t size) noexcept; // REQUIRES take(size) returned it
[[nodiscard]] std::size_t kept() noexcept;         // bytes that this thread keeps now
[[nodiscard]] std::size_t kept_small() noexcept;   // and of what was made by `new`

} // namespace gw::recycled_memory

namespace gw {

// A base of what is made once a request (or an attempt, or a coroutine's call).
struct recycled
{
    static void* operator new(std::size_t size) { return recycled_memory::take(size); }
    static void operator delete(void* block, std::size_t size) noexcept
    {
        recycled_memory::give(block, size);
    }
};

} // namespace gw
