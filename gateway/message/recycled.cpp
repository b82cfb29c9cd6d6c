#include "message/recycled.hpp"

#include <array>
#include <cstdlib>
#include <malloc.h>
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

std::size_t kept_small() noexcept
{
    return 0;
}

#else

namespace {

constexpr std::size_t step = 128;
constexpr std::size_t small_sizes = 64; // of `new`: 24, 40, 56 ... bytes, as malloc's blocks have them

struct free_block
{
    free_block* next;
};

// Trivial, so that a thread reaches it without asking whether it exists.
struct shelves
{
    std::array<free_block*, largest / step> of{};
    std::size_t bytes = 0;
    std::array<free_block*, small_sizes> small{};
    std::size_t small_bytes = 0;
    bool watched = false; // the thread's end empties them
};
constinit thread_local shelves mine;

struct emptied_at_end
{
    ~emptied_at_end()
    {
        mine.watched = true; // nothing is kept from here on: see give()
        mine.bytes = mine.small_bytes = most_kept;
        for (auto*& first : mine.small) {
            while (free_block* const block = first) {
                first = block->next;
                std::free(block);
            }
        }
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

// `new` and `delete`: a block of 24 + 16 * shelf bytes.
std::size_t small_shelf_of(std::size_t size)
{
    return size <= 24 ? 0 : (size - 9) / 16;
}

void* take_small(std::size_t size)
{
    const std::size_t shelf = small_shelf_of(size);
    if (shelf < small_sizes) [[likely]] {
        if (free_block* const block = mine.small[shelf]) [[likely]] {
            mine.small[shelf] = block->next;
            mine.small_bytes -= 24 + 16 * shelf;
            return block;
        }
        size = 24 + 16 * shelf;
    }
    while (true) {
        if (void* const made = std::malloc(size)) {
            return made;
        }
        const std::new_handler handler = std::get_new_handler();
        if (handler == nullptr) {
            throw std::bad_alloc();
        }
        handler();
    }
}

// Whoever frees need not know the size: malloc does, and whoever made it.
void give_small(void* block) noexcept
{
    if (block == nullptr) {
        return;
    }
    const std::size_t shelf = (::malloc_usable_size(block) - 24) / 16; // of what is no block of ours: huge
    if (shelf >= small_sizes || mine.small_bytes + 24 + 16 * shelf > most_kept) [[unlikely]] {
        std::free(block);
        return;
    }
    watch_end();
    mine.small_bytes += 24 + 16 * shelf;
    mine.small[shelf] = new (block) free_block{mine.small[shelf]};
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

std::size_t kept_small() noexcept
{
    return mine.small_bytes;
}

#endif

} // namespace gw::recycled_memory

#ifndef GW_PLAIN_MEMORY

void* operator new(std::size_t size)
{
    return gw::recycled_memory::take_small(size);
}
void operator delete(void* block) noexcept
{
    gw::recycled_memory::give_small(block);
}
void operator delete(void* block, std::size_t) noexcept
{
    gw::recycled_memory::give_small(block);
}

#endif
