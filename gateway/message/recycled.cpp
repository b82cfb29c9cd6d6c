#include "message/recycled.hpp"

#include <array>
#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define GW_PLAIN_MEMORY 1
#endif
#endif

namespace gw::recycled_memory {

#ifdef GW_PLAIN_MEMORY

void* take(std::size_t size)
{
    return ::operator new(size);
}

void give(void* block, std::size_t size) noexcept
{
    ::operator delete(block, size);
}

std::size_t kept() noexcept
{
    return 0;
}

#else

namespace {

constexpr std::size_t step = 128;

struct free_block
{
    free_block* next;
};

// Trivial, so that a thread reaches it without asking whether it exists.
struct shelves
{
    std::array<free_block*, largest / step> of{};
    std::size_t bytes = 0;
    bool watched = false; // the thread's end empties them
};
constinit thread_local shelves mine;

struct emptied_at_end
{
    ~emptied_at_end()
    {
        mine.watched = true; // nothing is kept from here on: see give()
        mine.bytes = most_kept;
        for (std::size_t i = 0; i < mine.of.size(); ++i) {
            while (free_block* const block = mine.of[i]) {
                mine.of[i] = block->next;
                ::operator delete(block, (i + 1) * step);
            }
        }
    }
};

std::size_t shelf_of(std::size_t size)
{
    return (size - 1) / step;
}

void watch_end()
{
    if (!mine.watched) {
        mine.watched = true;
        static thread_local const emptied_at_end watcher;
        static_cast<void>(watcher);
    }
}

} // namespace

void* take(std::size_t size)
{
    if (size - 1 >= largest) [[unlikely]] {
        return ::operator new(size);
    }
    const std::size_t shelf = shelf_of(size);
    if (free_block* const block = mine.of[shelf]) [[likely]] {
        mine.of[shelf] = block->next;
        mine.bytes -= (shelf + 1) * step;
        return block;
    }
    watch_end();
    return ::operator new((shelf + 1) * step);
}

void give(void* block, std::size_t size) noexcept
{
    if (size - 1 >= largest) [[unlikely]] {
        ::operator delete(block, size);
        return;
    }
    const std::size_t shelf = shelf_of(size);
    if (mine.bytes + (shelf + 1) * step > most_kept || !mine.watched) [[unlikely]] {
        ::operator delete(block, (shelf + 1) * step);
        return;
    }
    mine.bytes += (shelf + 1) * step;
    mine.of[shelf] = new (block) free_block{mine.of[shelf]};
}

std::size_t kept() noexcept
{
    return mine.bytes;
}

#endif

} // namespace gw::recycled_memory
