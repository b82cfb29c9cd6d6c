// The waker of sleeping endpoints against a scripted one: one for many cores that meet it asleep, over
// reloads, and an exit that no endpoint holds.
#include "config/load.hpp"
#include "dispatch/standing.hpp"
#include "dispatch/waker.hpp"
#include "support/scripted_upstream.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace gw::dispatch {
namespace {

using namespace std::chrono_literals;
using test::scripted;
using test::scripted_upstream;
using ::testing::HasSubstr;

constexpr auto soon = 30s; // machines that compile beside it are slow

template <class F>
bool within(F condition)
{
    const auto end = std::chrono::steady_clock::now() + soon;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) {
            return false;
        }
        std::this_thread::yield();
    }
    return true;
}

result<net::addresses> nowhere(const std::string& host)
{
    return std::unexpected(
        failure{.what = code::unavailable, .text = "no look-up of " + host + " is expected"}
    );
}

verdict asleep()
{
    return {.what = outcome::warming, .where = scope::upstream, .status = 503, .text = "it sleeps"};
}

class waker_test : public ::testing::Test
{
protected:
    // An endpoint at `url`, or one elsewhere.
    static std::shared_ptr<const snapshot> policy(const std::string& url, const std::string& more = "")
    {
        auto loaded = config::load_text(
            "tokens: { acme: { secret: \"${TOKEN}\" } }\n"
            "upstreams: { vit: { kind: dedicated, url: \"" +
                url + "\", token: acme" + more + " } }\nmodels: { m: { route: [vit] } }\n",
            "policy.yaml",
            [](std::string_view) { return std::optional<std::string>("hf_canary_of_the_waker"); }
        );
        if (!loaded) {
            ADD_FAILURE() << config::to_string(loaded.error().front());
            return nullptr;
        }
        return *make_snapshot(*loaded);
    }
    static const config::upstream& vit(const std::shared_ptr<const snapshot>& of)
    {
        return *of->policy->upstreams.front();
    }
    [[nodiscard]] bool blocked(const std::shared_ptr<const snapshot>& of) const
    {
        return known.look({.to = &vit(of), .model = "m"}, net::clock::now()).has_value();
    }
    [[nodiscard]] std::uint64_t ended(waking::end why) const
    {
        std::uint64_t sum = 0;
        for (const auto& each : known.bridge.now()) {
            sum += each.ended[static_cast<std::size_t>(why)];
        }
        return sum;
    }

    standing known;
    net::resolver names{nowhere};
};

TEST_F(waker_test, many_threads_meet_it_and_one_request_wakes_it)
{
    std::atomic<bool> awake = false;
    scripted_upstream up([&awake](const std::string& bytes, int) {
        if (!scripted_upstream::whole(bytes)) {
            return scripted{};
        }
        EXPECT_TRUE(within([&awake] { return awake.load(); }));
        return scripted{scripted_upstream::json("")};
    });
    const auto now = policy(up.url());
    waker bridge(known, names, "test");
    bridge.use(now);
    {
        std::vector<std::jthread> cores;
        for (int i = 0; i < 4; ++i) {
            cores.emplace_back([&] {
                for (int k = 0; k < 250; ++k) {
                    verdict what = asleep();
                    bridge.meets(vit(now), what);
                    EXPECT_EQ(what.what, outcome::warming);
                    EXPECT_TRUE(blocked(now));
                }
            });
        }
    }
    EXPECT_TRUE(within([&] { return !up.pending().empty(); }));
    EXPECT_TRUE(blocked(now));
    awake = true;
    EXPECT_TRUE(within([&] { return !blocked(now); }));
    ASSERT_EQ(up.requests().size(), 1U);
    EXPECT_THAT(up.requests().front(), HasSubstr("GET /health HTTP/1.1\r\n"));
    EXPECT_THAT(up.requests().front(), HasSubstr("\r\nx-scale-up-timeout: 55\r\n"));
    EXPECT_THAT(up.requests().front(), HasSubstr("\r\nauthorization: Bearer hf_canary_of_the_waker\r\n"));
    EXPECT_EQ(ended(waking::end::ready), 1U);
}

TEST_F(waker_test, what_is_no_sleeping_endpoint_is_left_alone)
{
    scripted_upstream up(scripted_upstream::always(scripted_upstream::json("")));
    const auto now = policy(up.url());
    waker bridge(known, names, "test");
    bridge.use(now);
    for (verdict what : {
             verdict{.what = outcome::unavailable, .where = scope::upstream, .status = 503},
             verdict{.what = outcome::warming, .where = scope::model_task, .status = 503},
             verdict{.what = outcome::rate_limited, .where = scope::upstream, .status = 503},
         }) {
        bridge.meets(vit(now), what);
    }
    const auto off = policy(up.url(), ", wake_timeout: 0");
    verdict what = asleep();
    bridge.use(off);
    bridge.meets(vit(off), what);
    EXPECT_TRUE(known.bridge.now().empty());
    EXPECT_EQ(up.connections(), 0);
}

TEST_F(waker_test, a_policy_that_no_longer_names_it_ends_its_request)
{
    scripted_upstream up([](const std::string&, int) { return scripted{}; }); // holds it for ever
    const auto now = policy(up.url());
    const auto other = policy("http://127.0.0.1:1");
    waker bridge(known, names, "test");
    bridge.use(now);
    verdict what = asleep();
    bridge.meets(vit(now), what);
    EXPECT_TRUE(within([&] { return up.pending().find("\r\n\r\n") != std::string::npos; }));
    bridge.use(policy(up.url(), ", max_in_flight: 3"));
    EXPECT_EQ(up.closed_by_gateway(), 0);
    bridge.use(other);
    EXPECT_TRUE(within([&] { return up.closed_by_gateway() == 1; }));
    EXPECT_EQ(up.connections(), 1) << "the reload before did not begin anew";
    bridge.meets(vit(now), what); // a request that began before the reload
    EXPECT_FALSE(known.look({.to = &vit(now), .model = "m"}, net::clock::now()).has_value());
}

TEST_F(waker_test, it_ends_at_once_whatever_it_waits_for)
{
    scripted_upstream up([](const std::string&, int) { return scripted{}; });
    const auto now = policy(up.url());
    auto bridge = std::make_unique<waker>(known, names, "test");
    bridge->use(now);
    verdict what = asleep();
    bridge->meets(vit(now), what);
    EXPECT_TRUE(within([&] { return !up.pending().empty(); }));
    const auto began = std::chrono::steady_clock::now();
    bridge->stop();
    bridge->meets(vit(now), what); // too late: nothing
    bridge.reset();
    EXPECT_LT(std::chrono::steady_clock::now() - began, 10s) << "it would be held for 55 s";
    EXPECT_EQ(up.connections(), 1);
}

TEST_F(waker_test, a_storm_of_requests_reloads_and_answers)
{
    std::atomic<unsigned> count = 0;
    scripted_upstream up([&count](const std::string& bytes, int) {
        if (!scripted_upstream::whole(bytes)) {
            return scripted{};
        }
        const bool ready = ++count % 2 == 0;
        return scripted{scripted_upstream::json("", ready ? 200 : 503)};
    });
    const auto here = policy(up.url());
    const auto more = policy(up.url(), ", max_in_flight: 3");
    const auto gone = policy("http://127.0.0.1:1");
    waker bridge(known, names, "test");
    bridge.use(here);

    const auto end = std::chrono::steady_clock::now() + 2s;
    std::vector<std::jthread> threads;
    for (int i = 0; i < 3; ++i) {
        threads.emplace_back([&] {
            while (std::chrono::steady_clock::now() < end) {
                verdict what = asleep();
                bridge.meets(vit(here), what);
                const auto why = known.look({.to = &vit(here), .model = "m"}, net::clock::now());
                if (why && why->waking) {
                    known.bridge.want(place_of(vit(here), {}), net::clock::now());
                }
            }
        });
    }
    threads.emplace_back([&] {
        for (unsigned i = 0; std::chrono::steady_clock::now() < end; ++i) {
            bridge.use(i % 3 == 0 ? more : i % 3 == 1 ? gone : here);
            std::this_thread::yield();
        }
    });
    threads.clear();
    bridge.use(here);
    EXPECT_TRUE(within([&] { return !blocked(here); })) << "nothing is held that nobody wakes";
    verdict what = asleep();
    bridge.meets(vit(here), what);
    EXPECT_TRUE(within([&] { return !blocked(here); })) << "in the end it is ready";
}

} // namespace
} // namespace gw::dispatch
