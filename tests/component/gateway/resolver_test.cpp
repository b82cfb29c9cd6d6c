// Names: one look-up for many who ask, and an exit that no name server holds.
#include "net/resolver.hpp"
#include "support/core_thread.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

namespace gw::net {
namespace {

using namespace std::chrono_literals;

// One core that asks.
class asker
{
public:
    std::future<result<addresses>> ask(resolver& names, interrupt& stop)
    {
        auto told = std::make_shared<std::promise<result<addresses>>>();
        auto later = told->get_future();
        core_.loop.post([this, told, &names, &stop] {
            spawn(run(names, stop, *told), [told](const std::exception_ptr&) {});
        });
        return later;
    }
    void fire(interrupt& stop)
    {
        core_.loop.post([&stop] { stop.fire(code::client_gone); });
    }

private:
    task<void> run(resolver& names, interrupt& stop, std::promise<result<addresses>>& told)
    {
        auto got = co_await names.resolve(core_.loop, "name.example", stop);
        told.set_value(std::move(got));
    }

    test::core_thread core_;
};

TEST(Resolver, ManyAskAndOneLooks)
{
    std::promise<void> go;
    const std::shared_future<void> allowed = go.get_future().share();
    std::atomic<int> looks{0};
    resolver names([&looks, allowed](const std::string&) -> result<addresses> {
        ++looks;
        allowed.wait();
        return addresses{asio::ip::make_address("192.0.2.1")};
    });
    interrupt stop_one; // an interrupt is its core's
    interrupt stop_two;
    asker one;
    asker two;
    std::vector<std::future<result<addresses>>> all;
    for (int i = 0; i < 10; ++i) {
        all.push_back(one.ask(names, stop_one));
        all.push_back(two.ask(names, stop_two));
    }
    go.set_value();
    for (auto& each : all) {
        const auto got = each.get();
        ASSERT_TRUE(got);
        EXPECT_EQ(got->front().to_string(), "192.0.2.1");
    }
    EXPECT_EQ(looks, 1);
}

TEST(Resolver, ANameServerThatHangsHoldsNeitherTheRequestNorTheExit)
{
    std::promise<void> go;
    const std::shared_future<void> allowed = go.get_future().share();
    std::promise<void> begun;
    std::promise<void> ended;
    auto names =
        std::make_optional<resolver>([&begun, &ended, allowed](const std::string&) -> result<addresses> {
            begun.set_value();
            allowed.wait();
            ended.set_value();
            return addresses{asio::ip::make_address("192.0.2.1")};
        });
    interrupt stop;
    asker one;
    auto asked = one.ask(*names, stop);
    begun.get_future().wait();
    one.fire(stop);
    const auto got = asked.get();
    ASSERT_FALSE(got);
    EXPECT_EQ(got.error().what, code::client_gone);

    const auto before = clock::now();
    names.reset();
    EXPECT_LT(clock::now() - before, 20s);
    go.set_value(); // what it says now is nobody's
    ended.get_future().wait();
}

TEST(Resolver, WhoeverWentAwayIsToldNothing) // with AddressSanitizer: a loop that is gone
{
    std::promise<void> go;
    const std::shared_future<void> allowed = go.get_future().share();
    std::promise<void> begun;
    resolver names([&begun, allowed, first = true](const std::string&) mutable -> result<addresses> {
        if (std::exchange(first, false)) {
            begun.set_value();
        }
        allowed.wait();
        return addresses{asio::ip::make_address("192.0.2.1")};
    });
    interrupt stop;
    auto one = std::make_unique<asker>();
    auto asked = one->ask(names, stop);
    begun.get_future().wait();
    one->fire(stop);
    EXPECT_FALSE(asked.get());
    one.reset(); // as a thread of the gateway ends: its loop with it

    interrupt stays;
    asker other;
    auto later = other.ask(names, stays);
    go.set_value();
    EXPECT_TRUE(later.get());
}

} // namespace
} // namespace gw::net
