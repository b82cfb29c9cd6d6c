#include "dispatch/connections.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

namespace gw::dispatch {
namespace {

TEST(connections, as_many_as_are_allowed)
{
    connections all;
    all.allow(2);
    EXPECT_TRUE(all.take());
    EXPECT_TRUE(all.take());
    EXPECT_FALSE(all.take());
    EXPECT_FALSE(all.take()) << "a refusal takes no place";
    all.give();
    EXPECT_TRUE(all.take());
    all.allow(1); // a reload
    all.give();
    EXPECT_FALSE(all.take());
    all.give();
    EXPECT_TRUE(all.take());
}

TEST(connections, of_one_client)
{
    connections all;
    connections::place one;
    connections::place two;
    connections::place three;
    EXPECT_TRUE(one.enter(all, "a", 2));
    EXPECT_TRUE(two.enter(all, "a", 2));
    EXPECT_TRUE(one.enter(all, "a", 2)) << "the next request of the same connection";
    EXPECT_TRUE(one.enter(all, "a", 1)) << "also when fewer are allowed by now";
    EXPECT_FALSE(three.enter(all, "a", 2));
    EXPECT_TRUE(three.enter(all, "b", 2));
    EXPECT_EQ(all.clients(), 2U);
    two.leave();
    EXPECT_TRUE(three.enter(all, "a", 2)) << "it counts for whom it shows last";
    EXPECT_EQ(all.clients(), 1U) << "b has none any more";
    EXPECT_FALSE(two.enter(all, "a", 2));
    one.leave();
    one.leave();
    three.leave();
    EXPECT_EQ(all.clients(), 0U);
}

TEST(connections, a_place_goes_with_its_connection)
{
    connections all;
    auto one = std::make_unique<connections::place>();
    EXPECT_TRUE(one->enter(all, "a", 1));
    one.reset();
    EXPECT_EQ(all.clients(), 0U);
}

TEST(connections, from_several_threads)
{
    constexpr std::size_t most = 3;
    connections all;
    all.allow(most);
    std::atomic<std::size_t> inside{0};
    std::atomic<std::size_t> of_one{0};
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int n = 0; n < 20'000; ++n) {
                if (all.take()) {
                    over = over || ++inside > most;
                    --inside;
                    all.give();
                }
                connections::place here;
                if (here.enter(all, "a", most)) {
                    over = over || ++of_one > most;
                    --of_one;
                }
            }
        });
    }
    for (auto& each : threads) {
        each.join();
    }
    EXPECT_FALSE(over);
    EXPECT_EQ(all.clients(), 0U);
    for (std::size_t i = 0; i < most; ++i) {
        EXPECT_TRUE(all.take()) << "every place was given back";
    }
}

} // namespace
} // namespace gw::dispatch
