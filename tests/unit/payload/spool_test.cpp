#include "payload/spool.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace gw::payloads {
namespace {

TEST(spool, small_bodies_take_memory_only)
{
    spool store({.memory_per_body = 1000, .memory = 10'000, .disk = 10'000, .block = 100, .write = 400});
    {
        const auto space = store.admit(700, copies::required);
        ASSERT_TRUE(space);
        EXPECT_EQ(space->memory(), 700U);
        EXPECT_EQ(space->disk(), 0U);
        EXPECT_EQ(store.now().memory, 700U);
    }
    EXPECT_EQ(store.now().memory, 0U);
}

TEST(spool, large_bodies_take_a_bounded_part_of_memory_and_their_size_on_disk)
{
    spool store({.memory_per_body = 1000, .memory = 10'000, .disk = 10'000, .block = 100, .write = 400});
    const auto space = store.admit(5000, copies::wanted);
    ASSERT_TRUE(space);
    EXPECT_EQ(store.now().memory, 1400U);
    EXPECT_EQ(store.now().disk, 5000U);

    const auto streamed = store.admit(1'000'000, copies::none);
    ASSERT_TRUE(streamed);
    EXPECT_EQ(streamed->memory(), 1000U);
    EXPECT_EQ(streamed->disk(), 0U);
}

TEST(spool, a_body_of_middling_size_is_whole_in_memory_while_half_of_it_is_free)
{
    spool store(
        {.memory_per_body = 1000, .memory = 20'000, .whole = 8000, .disk = 100'000, .block = 100, .write = 400
        }
    );
    auto first = store.admit(6000, copies::required);
    ASSERT_TRUE(first);
    EXPECT_TRUE(first->whole());
    EXPECT_EQ(first->memory(), 6000U);
    EXPECT_EQ(first->disk(), 0U);

    const auto second = store.admit(6000, copies::wanted); // more than half would be taken then
    ASSERT_TRUE(second);
    EXPECT_FALSE(second->whole());
    EXPECT_EQ(second->memory(), 1400U);
    EXPECT_EQ(second->disk(), 6000U);

    *first = reservation{};
    EXPECT_FALSE(store.admit(8001, copies::wanted)->whole());
    EXPECT_TRUE(store.admit(8000, copies::wanted)->whole());
    EXPECT_FALSE(store.admit(8000, copies::none)->whole()) << "no copy is wanted";
    EXPECT_FALSE(store.admit(1000, copies::wanted)->whole()) << "small ones are anyway";
    EXPECT_EQ(store.now().memory, second->memory());
}

TEST(spool, without_memory_it_is_overloaded)
{
    spool store({.memory_per_body = 1000, .memory = 1000, .block = 100, .write = 400});
    auto first = store.admit(600, copies::required);
    ASSERT_TRUE(first);
    const auto second = store.admit(600, copies::none);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().what, code::overloaded);
    EXPECT_EQ(second.error().from, origin::gateway);
    EXPECT_EQ(second.error().retry_after, std::chrono::seconds(1));
    EXPECT_EQ(store.now().refused, 1U);

    *first = reservation{};
    EXPECT_TRUE(store.admit(600, copies::required));
}

TEST(spool, without_disk_a_copy_is_done_without_or_refused)
{
    spool store({.memory_per_body = 100, .memory = 10'000, .disk = 1000, .block = 50, .write = 100});
    const auto without = store.admit(2000, copies::wanted);
    ASSERT_TRUE(without);
    EXPECT_EQ(without->how(), copies::none);
    EXPECT_EQ(store.now().without_copy, 1U);

    const auto before = store.now().memory;
    const auto refused = store.admit(2000, copies::required);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().what, code::overloaded);
    EXPECT_EQ(store.now().memory, before) << "the refused one gave back what it had taken";
}

TEST(spool, absurd_sizes_do_not_wrap)
{
    spool store({.memory_per_body = 100, .memory = 1000, .disk = 1000, .block = 50, .write = 100});
    EXPECT_FALSE(store.admit(~std::uint64_t{0}, copies::required));
    EXPECT_EQ(store.now().memory, 0U);
    EXPECT_EQ(store.now().disk, 0U);
}

TEST(spool, a_reservation_moves_without_doubling)
{
    spool store({.memory_per_body = 1000, .memory = 1000, .block = 100, .write = 400});
    reservation kept;
    {
        auto space = store.admit(600, copies::required);
        ASSERT_TRUE(space);
        kept = std::move(*space);
    }
    EXPECT_EQ(store.now().memory, 600U);
    kept = reservation{};
    EXPECT_EQ(store.now().memory, 0U);
}

TEST(spool, budgets_hold_over_threads)
{
    spool store({.memory_per_body = 1000, .memory = 5000, .block = 100, .write = 400});
    std::atomic<bool> passed_limit = false;
    std::vector<std::thread> crowd;
    for (int each = 0; each < 4; ++each) {
        crowd.emplace_back([&] {
            for (int turn = 0; turn < 2000; ++turn) {
                const auto space = store.admit(900, copies::required);
                if (store.now().memory > 5000) {
                    passed_limit = true;
                }
            }
        });
    }
    for (auto& each : crowd) {
        each.join();
    }
    EXPECT_FALSE(passed_limit);
    EXPECT_EQ(store.now().memory, 0U);
}

} // namespace
} // namespace gw::payloads
