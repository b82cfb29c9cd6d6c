#include "message/recycled.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <new>
#include <thread>
#include <utility>
#include <vector>

namespace gw::recycled_memory {
namespace {

// Under the sanitizers every block is the allocator's, and nothing is kept.
bool keeps()
{
    give(take(100), 100);
    return kept() != 0;
}

TEST(recycled, a_block_is_handed_out_again_to_who_needs_as_much)
{
    if (!keeps()) {
        GTEST_SKIP() << "under a sanitizer";
    }
    void* const first = take(1000);
    std::memset(first, 1, 1000);
    give(first, 1000);
    void* const other = take(3000);
    EXPECT_NE(other, first);
    void* const again = take(999); // the same size of block
    EXPECT_EQ(again, first);
    std::memset(again, 2, 999);
    give(again, 999);
    give(other, 3000);
}

TEST(recycled, blocks_of_every_size_are_whole)
{
    for (const std::size_t size :
         {std::size_t{1},
          std::size_t{127},
          std::size_t{128},
          std::size_t{129},
          largest - 1,
          largest,
          largest + 1,
          4 * largest}) {
        for (int round = 0; round < 2; ++round) {
            void* const block = take(size);
            std::memset(block, 7, size); // valgrind and the sanitizers look
            give(block, size);
        }
    }
}

TEST(recycled, what_a_thread_keeps_is_bounded)
{
    const bool keeping = keeps();
    std::vector<void*> blocks;
    for (std::size_t all = 0; all < 2 * most_kept; all += largest) {
        blocks.push_back(take(largest));
    }
    for (void* const block : blocks) {
        give(block, largest);
    }
    EXPECT_LE(kept(), most_kept);
    EXPECT_EQ(kept() > most_kept / 2, keeping);
}

TEST(recycled, a_block_may_be_given_back_by_another_thread)
{
    void* const block = take(500);
    std::thread([block] { give(block, 500); }).join(); // which ends, and gives back what it kept
    give(take(500), 500);
}

// Calls of the operators themselves: what a `new` expression makes the compiler may leave out.
TEST(recycled, new_hands_out_again_what_was_deleted)
{
    if (!keeps()) {
        GTEST_SKIP() << "under a sanitizer";
    }
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, std::size_t{24}, std::size_t{25}, std::size_t{40}, std::size_t{1032}
         }) {
        void* const first = ::operator new(size);
        std::memset(first, 1, size);
        void* const other = ::operator new(size);
        EXPECT_NE(other, first);
        ::operator delete(first, size);
        void* const again = ::operator new(size);
        EXPECT_EQ(again, first) << size;
        ::operator delete(again); // whoever frees need not know the size
        ::operator delete(other);
    }
    void* const wide = ::operator new(40);
    ::operator delete(wide);
    void* const narrow = ::operator new(20); // has a shelf of its own
    EXPECT_NE(narrow, wide);
    ::operator delete(narrow);
}

TEST(recycled, new_makes_blocks_of_every_size)
{
    std::vector<std::pair<unsigned char*, std::size_t>> blocks;
    for (int round = 0; round < 2; ++round) {
        for (std::size_t size = 0; size < 1200; ++size) {
            auto* const block = static_cast<unsigned char*>(::operator new(size));
            std::memset(block, static_cast<int>(size % 251), size);
            blocks.emplace_back(block, size);
        }
        for (const auto& [block, size] : blocks) {
            for (std::size_t at = 0; at < size; ++at) {
                ASSERT_EQ(block[at], size % 251) << "of " << size << " bytes";
            }
            ::operator delete(block);
        }
        blocks.clear();
    }
}

TEST(recycled, what_new_keeps_is_bounded)
{
    const bool keeping = keeps();
    std::vector<void*> blocks;
    for (std::size_t all = 0; all < 2 * most_kept; all += 1000) {
        blocks.push_back(::operator new(1000));
    }
    for (void* const block : blocks) {
        ::operator delete(block);
    }
    EXPECT_LE(kept_small(), most_kept);
    EXPECT_EQ(kept_small() > most_kept / 2, keeping);
}

} // namespace
} // namespace gw::recycled_memory
