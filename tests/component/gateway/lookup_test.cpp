// Look-ups at the Hub: one for many cores that ask, where a name may lead, and an exit that no Hub holds.
#include "support/core_thread.hpp"
#include "support/scripted_upstream.hpp"
#include "upstream/lookup.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <thread>
#include <vector>

namespace gw::upstream {
namespace {

using namespace std::chrono_literals;
using test::scripted;
using test::scripted_upstream;
using test::then;
using told = std::shared_ptr<const hub_answer>;

constexpr auto soon = 30s; // machines that compile beside it are slow

// One core that asks.
class asker
{
public:
    std::future<told> ask(lookup& hub, const std::string& model)
    {
        auto promise = std::make_shared<std::promise<told>>();
        auto later = promise->get_future();
        core_.loop.post([this, promise, &hub, model] {
            net::spawn(run(hub, model, promise), [](const std::exception_ptr&) {});
        });
        return later;
    }
    void leave()
    {
        core_.loop.post([this] { stop_.fire(code::client_gone); });
    }

private:
    net::task<void> run(lookup& hub, std::string model, std::shared_ptr<std::promise<told>> promise)
    {
        auto got = co_await hub.ask(core_.loop, std::move(model), stop_);
        promise->set_value(std::move(got));
    }

    net::interrupt stop_;
    test::core_thread core_;
};

config::hub hub_at(const scripted_upstream& up)
{
    config::hub made;
    made.on = true;
    made.at = {
        .tls = false,
        .host = "127.0.0.1",
        .port = up.port(),
        .base_path = {},
        .origin = up.url(),
        .host_header = "hub"
    };
    made.checks_private = false;
    return made;
}

result<net::addresses> nowhere(const std::string& host)
{
    return std::unexpected(
        failure{.what = code::unavailable, .text = "no look-up of " + host + " is expected"}
    );
}

told get(std::future<told> from)
{
    EXPECT_EQ(from.wait_for(soon), std::future_status::ready);
    return from.get();
}

TEST(Lookup, ManyCoresAskAndOneLooks)
{
    std::promise<void> go;
    const std::shared_future<void> allowed = go.get_future().share();
    scripted_upstream up([allowed](const std::string& bytes, int) {
        if (!scripted_upstream::whole(bytes)) {
            return scripted{};
        }
        allowed.wait();
        return scripted{scripted_upstream::json(R"({"id":"a/b","pipeline_tag":"fill-mask"})")};
    });
    net::resolver names(nowhere);
    std::vector<std::unique_ptr<asker>> cores;
    lookup hub(names, "test");
    ASSERT_TRUE(hub.use(hub_at(up)).has_value());

    std::vector<std::future<told>> waiting;
    for (int i = 0; i < 4; ++i) {
        cores.push_back(std::make_unique<asker>());
        for (int k = 0; k < 250; ++k) {
            waiting.push_back(cores.back()->ask(hub, "a/b"));
        }
    }
    while (hub.now().waited < 1000) {
        std::this_thread::yield();
    }
    go.set_value();
    for (auto& each : waiting) {
        const told is = get(std::move(each));
        ASSERT_EQ(is->what, hub_says::found);
        EXPECT_EQ(is->of->task, "fill-mask");
    }
    EXPECT_EQ(up.requests().size(), 1U);
    EXPECT_EQ(hub.now().asked, 1U);
    EXPECT_THAT(up.requests().front(), testing::Not(testing::HasSubstr("authorization")));
    EXPECT_EQ(get(cores.front()->ask(hub, "a/b"))->what, hub_says::found);
    EXPECT_EQ(hub.now().served, 1U);
}

TEST(Lookup, TheBuiltInHubDoesNotLeadInside)
{
    net::resolver names([](const std::string& host) {
        EXPECT_EQ(host, "huggingface.co");
        return result<net::addresses>(net::addresses{net::asio::ip::make_address("127.0.0.1")});
    });
    asker core;
    lookup hub(names, "test");
    config::hub where;
    where.on = true;
    where.at = {
        .tls = true,
        .host = "huggingface.co",
        .port = 443,
        .base_path = {},
        .origin = "https://huggingface.co:443",
        .host_header = "huggingface.co"
    };
    ASSERT_TRUE(hub.use(where).has_value());
    const told is = get(core.ask(hub, "a/b"));
    EXPECT_EQ(is->what, hub_says::away);
    EXPECT_THAT(is->text, testing::HasSubstr("`huggingface.co` resolves to a private address"));
}

TEST(Lookup, ItsTokenGoesAlongAndAnotherOneForgetsWhatWasSaid)
{
    scripted_upstream up(scripted_upstream::always(scripted_upstream::json(R"({"id":"a/b"})")));
    net::resolver names(nowhere);
    asker core;
    lookup hub(names, "test");
    config::token token{
        .name = "t", .value = config::secret("hf_first"), .bill_to = {}, .file = {}, .hash = 1
    };
    config::hub where = hub_at(up);
    where.with = &token;
    ASSERT_TRUE(hub.use(where).has_value());
    EXPECT_EQ(get(core.ask(hub, "a/b"))->what, hub_says::found);
    ASSERT_TRUE(hub.use(where).has_value()) << "a reload without a change";
    EXPECT_EQ(get(core.ask(hub, "a/b"))->what, hub_says::found);
    EXPECT_EQ(up.requests().size(), 1U);

    token.value = config::secret("hf_second");
    token.hash = 2;
    ASSERT_TRUE(hub.use(where).has_value());
    EXPECT_EQ(get(core.ask(hub, "a/b"))->what, hub_says::found);
    const auto seen = up.requests();
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_THAT(seen[0], testing::HasSubstr("\r\nauthorization: Bearer hf_first\r\n"));
    EXPECT_THAT(seen[1], testing::HasSubstr("\r\nauthorization: Bearer hf_second\r\n"));

    ASSERT_TRUE(hub.use(config::hub{}).has_value());
    EXPECT_EQ(get(core.ask(hub, "a/b"))->what, hub_says::away) << "there is no hub any more";
}

TEST(Lookup, AnAnswerThatHoldsOurTokenIsNone)
{
    scripted_upstream up(scripted_upstream::always(scripted_upstream::json(
        R"({"inferenceProviderMapping":{"hf_first":{"status":"live","providerId":"x","task":"y"}}})"
    )));
    net::resolver names(nowhere);
    asker core;
    lookup hub(names, "test");
    const config::token token{
        .name = "t", .value = config::secret("hf_first"), .bill_to = {}, .file = {}, .hash = 1
    };
    config::hub where = hub_at(up);
    where.with = &token;
    ASSERT_TRUE(hub.use(where).has_value());
    EXPECT_EQ(get(core.ask(hub, "a/b"))->what, hub_says::away);
}

TEST(Lookup, AnAnswerWithoutEndIsCut)
{
    scripted_upstream up([](const std::string& bytes, int) {
        if (!scripted_upstream::whole(bytes)) {
            return scripted{};
        }
        return scripted{
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\n\r\n" +
                std::string(16U << 20U, ' '),
            then::close
        };
    });
    net::resolver names(nowhere);
    asker core;
    lookup hub(names, "test");
    ASSERT_TRUE(hub.use(hub_at(up)).has_value());
    const told is = get(core.ask(hub, "a/b"));
    EXPECT_EQ(is->what, hub_says::away);
    EXPECT_THAT(is->text, testing::HasSubstr("too long"));
    up.change(scripted_upstream::always(scripted_upstream::json("{}")));
    EXPECT_EQ(get(core.ask(hub, "c/d"))->what, hub_says::found) << "others are asked for all the same";
}

TEST(Lookup, AKeptConnectionThatJustClosesIsNoFailure)
{
    scripted_upstream up([](const std::string& bytes, int number) {
        if (!scripted_upstream::whole(bytes)) {
            return scripted{};
        }
        if (number == 1 && bytes.contains("/c/d?")) {
            return scripted{"", then::close};
        }
        return scripted{scripted_upstream::json("{}")};
    });
    net::resolver names(nowhere);
    asker core;
    lookup hub(names, "test");
    ASSERT_TRUE(hub.use(hub_at(up)).has_value());
    EXPECT_EQ(get(core.ask(hub, "a/b"))->what, hub_says::found);
    EXPECT_EQ(get(core.ask(hub, "c/d"))->what, hub_says::found);
    EXPECT_EQ(up.connections(), 2);
}

TEST(Lookup, AHubThatHangsHoldsNobodyForLong)
{
    scripted_upstream up([](const std::string&, int) { return scripted{}; });
    net::resolver names(nowhere);
    asker leaves;
    asker stays;
    auto hub = std::make_unique<lookup>(names, "test");
    ASSERT_TRUE(hub->use(hub_at(up)).has_value());
    auto gone = leaves.ask(*hub, "a/b");
    while (hub->now().waited < 1) {
        std::this_thread::yield();
    }
    leaves.leave();
    EXPECT_EQ(get(std::move(gone))->what, hub_says::away) << "a client that left";

    const auto began = std::chrono::steady_clock::now();
    EXPECT_THAT(get(stays.ask(*hub, "a/b"))->text, testing::HasSubstr("did not answer in time"));
    EXPECT_GE(std::chrono::steady_clock::now() - began, 1s);

    const auto end = std::chrono::steady_clock::now();
    hub.reset(); // with the look-up under way
    EXPECT_LT(std::chrono::steady_clock::now() - end, 5s);
}

} // namespace
} // namespace gw::upstream
