#include "payload/block_pool.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

namespace gw::payloads {
namespace {

// Under the address sanitizer nothing is kept.
bool keeps()
{
    block_pool pool(100);
    pool.lend().reset();
    return pool.idle() == 1;
}

TEST(block_pool, lends_what_came_back_last)
{
    if (!keeps()) {
        GTEST_SKIP() << "every block is fresh in this build";
    }
    block_pool pool(64 * 1024);
    auto first = pool.lend();
    auto second = pool.lend();
    EXPECT_NE(first, second);
    const auto* const where = second.get();
    first.reset();
    second.reset();
    EXPECT_EQ(pool.idle(), 2U);
    EXPECT_EQ(pool.lend().get(), where);
}

TEST(block_pool, every_byte_of_a_block_can_be_used)
{
    for (const std::size_t size : {1U, 7U, 64U, 4096U, 65536U + 64U}) {
        block_pool pool(size);
        for (int turn = 0; turn < 3; ++turn) {
            const auto one = pool.lend();
            const auto other = pool.lend();
            std::memset(one.get(), 'a', size);
            std::memset(other.get(), 'b', size);
            EXPECT_EQ(std::string_view(one.get(), size), std::string(size, 'a'));
        }
    }
}

TEST(block_pool, gives_the_system_what_nobody_needed)
{
    if (!keeps()) {
        GTEST_SKIP() << "every block is fresh in this build";
    }
    block_pool pool(4096);
    std::vector<std::shared_ptr<char[]>> held;
    for (int each = 0; each < 10; ++each) {
        held.push_back(pool.lend());
    }
    held.clear();
    pool.trim(); // they were needed a moment ago
    EXPECT_EQ(pool.idle(), 10U);
    for (int turn = 0; turn < 5; ++turn) { // three are enough from now on
        held = {pool.lend(), pool.lend(), pool.lend()};
        held.clear();
    }
    pool.trim();
    EXPECT_EQ(pool.idle(), 3U);
    pool.trim();
    EXPECT_EQ(pool.idle(), 0U);
    EXPECT_NE(pool.lend(), nullptr);
}

TEST(block_pool, a_block_may_outlive_it)
{
    std::optional<block_pool> pool(4096);
    const auto block = pool->lend();
    auto other = pool->lend();
    other.reset();
    pool.reset();
    std::memset(block.get(), 'x', 4096);
    EXPECT_EQ(block[4095], 'x');
}

TEST(block_pool, from_many_threads_nobody_shares_a_block)
{
    block_pool pool(256);
    std::vector<std::thread> crowd;
    std::vector<int> wrong(4);
    for (int each = 0; each < 4; ++each) {
        crowd.emplace_back([&pool, &wrong, each] {
            for (int turn = 0; turn < 3000; ++turn) {
                const auto one = pool.lend();
                std::memset(one.get(), each, 256);
                const auto other = pool.lend();
                std::memset(other.get(), each + 10, 256);
                for (int at = 0; at < 256; ++at) {
                    wrong[static_cast<std::size_t>(each)] += one[at] != each;
                }
                if (turn % 100 == 0) {
                    pool.trim();
                }
            }
        });
    }
    for (auto& each : crowd) {
        each.join();
    }
    EXPECT_EQ(wrong, std::vector<int>(4));
}

} // namespace
} // namespace gw::payloads
