#include "payload/block_pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <mutex>
#include <new>
#include <utility>

namespace gw::payloads {
namespace {

// The address sanitizer finds who uses a block that went back only if nobody else gets it.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool keeps = false;
#else
constexpr bool keeps = true;
#endif
#else
constexpr bool keeps = true;
#endif

} // namespace

struct block_pool::shelf
{
    // A block that nobody has: the next one is noted in its first bytes.
    struct free_block
    {
        free_block* next;
    };

    explicit shelf(std::size_t size) : bytes(std::max(size, sizeof(free_block))) {}
    ~shelf() { unmap(first); }
    shelf(const shelf&) = delete;
    shelf& operator=(const shelf&) = delete;

    // Mapped one by one: what goes back to the system is gone, wherever it lay.
    [[nodiscard]] void* map() const
    {
        void* const made = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (made == MAP_FAILED) {
            throw std::bad_alloc();
        }
        return made;
    }
    void unmap(free_block* each) const
    {
        while (each != nullptr) {
            ::munmap(std::exchange(each, each->next), bytes);
        }
    }

    void take_back(char* block)
    {
        if (!keeps) {
            ::munmap(block, bytes);
            return;
        }
        const std::lock_guard hold(lock);
        first = ::new (static_cast<void*>(block)) free_block{.next = first};
        ++count;
    }

    const std::size_t bytes;
    std::mutex lock; // guards what follows
    free_block* first = nullptr;
    std::size_t count = 0;
    std::size_t least = 0; // of `count` since the last trim()
};

block_pool::block_pool(std::size_t bytes) : shelf_(std::make_shared<shelf>(bytes)) {}

block_pool::~block_pool() = default;

std::shared_ptr<char[]> block_pool::lend()
{
    void* found = nullptr;
    {
        const std::lock_guard hold(shelf_->lock);
        if (shelf_->first != nullptr) {
            found = std::exchange(shelf_->first, shelf_->first->next);
            shelf_->least = std::min(shelf_->least, --shelf_->count);
        }
    }
    if (found == nullptr) {
        found = shelf_->map();
    }
    return {static_cast<char*>(found), [of = shelf_](char* block) { of->take_back(block); }};
}

void block_pool::trim()
{
    shelf::free_block* unused = nullptr;
    {
        const std::lock_guard hold(shelf_->lock);
        for (; shelf_->least > 0; --shelf_->least) {
            auto* const next = shelf_->first->next;
            shelf_->first->next = std::exchange(unused, shelf_->first);
            shelf_->first = next;
            --shelf_->count;
        }
        shelf_->least = shelf_->count;
    }
    shelf_->unmap(unused);
}

std::size_t block_pool::idle() const
{
    const std::lock_guard hold(shelf_->lock);
    return shelf_->count;
}

} // namespace gw::payloads
