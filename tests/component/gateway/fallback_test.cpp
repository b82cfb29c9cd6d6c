// Moving on: to the next token, to the next candidate, and never with a POST twice to the same upstream.
#include "support/gateway.hpp"
#include "support/scripted_upstream.hpp"

#include <gmock/gmock.h>

namespace gw::test {
namespace {

using testing::HasSubstr;

const std::string png = "\x89PNG\r\n\x1a\n0000";

std::string policy(const std::string& first, const std::string& second, const std::string& fallback = "")
{
    return "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ntokens: { a: { secret: \"${A}\" }, b: { secret: "
           "\"${B}\" } }\nupstreams:\n  one: { kind: serverless, url: \"" +
           first + "\", tokens: [a, b] }\n  two: { kind: dedicated, url: \"" + second +
           "\", engine: toolkit }\n  llm: { kind: dedicated, url: \"" + second +
           "\", engine: openai }\nmodels:\n  org/vit: { task: image-classification, route: [one, two]" +
           fallback + " }\n  org/chat: { task: chat-completion, route: [one, llm]" + fallback + " }\n";
}
const std::map<std::string, std::string> env{{"A", "hf_aaaaaaaaaa"}, {"B", "hf_bbbbbbbbbb"}};

answer ask(gateway& here)
{
    return here.ask(gateway::post("/models/org/vit", png, "content-type: image/png\r\n"));
}

struct refusal
{
    std::string why;
    std::string send;
    then next;
    std::string route; // x-fourways-route
    std::size_t asked; // requests the first upstream saw
};

void PrintTo(const refusal& row, std::ostream* out)
{
    *out << row.why;
}

class Refusal : public testing::TestWithParam<refusal>
{
};

TEST_P(Refusal, TheSecondAnswers)
{
    const refusal& row = GetParam();
    scripted_upstream first(scripted_upstream::always(row.send, row.next));
    scripted_upstream second(scripted_upstream::always(scripted_upstream::json("[2]")));
    gateway here(policy(first.url(), second.url()), env);
    const answer got = ask(here);
    EXPECT_EQ(got.status, 200) << row.why << got.body;
    EXPECT_EQ(got.body, "[2]");
    EXPECT_EQ(got.field("x-fourways-route"), row.route) << row.why;
    EXPECT_EQ(first.requests().size(), row.asked) << row.why;
}

INSTANTIATE_TEST_SUITE_P(
    Router,
    Refusal,
    testing::Values(
        refusal{
            "limited, both tokens in turn",
            scripted_upstream::json(R"({"error":"slow down"})", 429, "retry-after: 30\r\n"),
            then::read_on,
            "one(429) one(429) two(200)",
            2
        },
        refusal{
            "out of credits, both tokens",
            scripted_upstream::json(R"({"error":"You have depleted your monthly included credits."})", 402),
            then::read_on,
            "one(402) one(402) two(200)",
            2
        },
        refusal{
            "both tokens refused",
            scripted_upstream::json(R"({"error":"Invalid username or password."})", 401),
            then::read_on,
            "one(401) one(401) two(200)",
            2
        },
        refusal{
            "broken: never the same upstream twice",
            scripted_upstream::json(R"({"error":"x"})", 500),
            then::read_on,
            "one(500) two(200)",
            1
        },
        refusal{
            "cold",
            scripted_upstream::json(R"({"error":"Model x is currently loading","estimated_time":20.0})", 503),
            then::read_on,
            "one(503) two(200)",
            1
        },
        refusal{
            "not supported",
            scripted_upstream::json(R"({"error":"Model not supported by provider hf-inference"})", 400),
            then::read_on,
            "one(400) two(200)",
            1
        },
        refusal{"reset after the POST was written", "", then::reset, "one(unavailable) two(200)", 1},
        refusal{
            "a web page",
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
            then::read_on,
            "one(unavailable) two(200)",
            1
        }
    )
);

TEST(Fallback, ARejectedRequestGoesNowhereElse)
{
    scripted_upstream first(
        scripted_upstream::always(scripted_upstream::json(R"({"error":"bad picture"})", 422))
    );
    scripted_upstream second(scripted_upstream::always(scripted_upstream::json("[2]")));
    gateway here(policy(first.url(), second.url()), env);
    const answer got = ask(here);
    EXPECT_EQ(got.status, 422);
    EXPECT_THAT(got.body, HasSubstr("bad picture"));
    EXPECT_EQ(second.connections(), 0);
}

TEST(Fallback, TheNextTokenOfThePoolIsTriedFirst)
{
    scripted_upstream first([](const std::string& bytes, int) {
        if (!scripted_upstream::whole(bytes)) {
            return scripted{};
        }
        const bool limited = bytes.find("hf_aaaaaaaaaa") != std::string::npos;
        return scripted{
            limited ? scripted_upstream::json(R"({"error":"slow down"})", 429, "retry-after: 60\r\n")
                    : scripted_upstream::json("[1]"),
            then::read_on
        };
    });
    scripted_upstream second(scripted_upstream::always(scripted_upstream::json("[2]")));
    gateway here(policy(first.url(), second.url()), env);
    const answer got = ask(here);
    EXPECT_EQ(got.body, "[1]");
    EXPECT_EQ(got.field("x-fourways-route"), "one(429) one(200)");
    // The limited token rests: the next request does not meet it.
    EXPECT_EQ(ask(here).field("x-fourways-route"), "one(200)");
}

TEST(Fallback, ACoolingUpstreamIsNotHit)
{
    scripted_upstream first(scripted_upstream::always(
        scripted_upstream::json(R"({"error":"slow down"})", 429, "retry-after: 60\r\n")
    ));
    scripted_upstream second(scripted_upstream::always(scripted_upstream::json("[2]")));
    gateway here(policy(first.url(), second.url()), env);
    ask(here);
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(ask(here).field("x-fourways-route"), "one(cooling) two(200)");
    }
    EXPECT_EQ(first.requests().size(), 2U) << "each token once";
}

TEST(Fallback, TheMostHopefulLastAnswerIsTold)
{
    scripted_upstream first(scripted_upstream::always(
        scripted_upstream::json(R"({"error":"slow down"})", 429, "retry-after: 60\r\n")
    ));
    scripted_upstream second(scripted_upstream::always(scripted_upstream::json(R"({"error":"x"})", 500)));
    gateway here(policy(first.url(), second.url()), env);
    const answer got = ask(here);
    EXPECT_EQ(got.status, 429) << got.body;
    EXPECT_GT(std::stoi("0" + got.field("retry-after")), 50);
    EXPECT_EQ(got.field("x-fourways-route"), "one(429) one(429) two(500)");
}

TEST(Fallback, AHealthySecondAnswersAllWhenThePrimaryResets)
{
    scripted_upstream first(scripted_upstream::always("", then::reset));
    scripted_upstream second(scripted_upstream::always(scripted_upstream::json("[2]")));
    gateway here(policy(first.url(), second.url()), env, 2);
    std::vector<std::thread> crowd;
    std::atomic<int> good = 0;
    for (int i = 0; i < 100; ++i) {
        crowd.emplace_back([&] { good += ask(here).body == "[2]" ? 1 : 0; });
    }
    for (auto& each : crowd) {
        each.join();
    }
    EXPECT_EQ(good, 100) << "no budget refuses a healthy second";
}

TEST(Fallback, ALargeBodyIsReplayedFromTheSpool)
{
    scripted_upstream first(scripted_upstream::always(scripted_upstream::json(R"({"error":"x"})", 500)));
    scripted_upstream second([](const std::string& bytes, int) {
        if (!scripted_upstream::whole(bytes)) {
            return scripted{};
        }
        const std::string body = scripted_upstream::body_of(bytes);
        return scripted{
            scripted_upstream::json("[" + std::to_string(std::hash<std::string>{}(body)) + "]"), then::read_on
        };
    });
    gateway here(policy(first.url(), second.url()), env);
    std::string body = png;
    for (int i = 0; body.size() < 2'000'000; ++i) {
        body += std::to_string(i * 7919) + ",";
    }
    const answer got = here.ask(gateway::post("/models/org/vit", body, "content-type: image/png\r\n"));
    EXPECT_EQ(got.body, "[" + std::to_string(std::hash<std::string>{}(body)) + "]")
        << got.field("x-fourways-route");
    EXPECT_EQ(got.field("x-fourways-route"), "one(500) two(200)");
}

TEST(Fallback, OneClientsAnswerNeverReachesAnother)
{
    scripted_upstream first([](const std::string& bytes, int) {
        return scripted_upstream::whole(bytes)
                   ? scripted{scripted_upstream::json("\"" + scripted_upstream::body_of(bytes).substr(12) + "\""), then::read_on}
                   : scripted{};
    });
    gateway here(policy(first.url(), first.url()), env, 4);
    std::vector<std::thread> crowd;
    std::atomic<int> foreign = 0;
    for (int i = 0; i < 16; ++i) {
        crowd.emplace_back([&, i] {
            client one = here.connect();
            for (int k = 0; k < 60; ++k) {
                const std::string mine = std::to_string(i) + "-" + std::to_string(k);
                if (!one.send(gateway::post("/models/org/vit", png + mine, "content-type: image/png\r\n"))) {
                    ++foreign;
                    return;
                }
                if (k % 13 == 12) { // leaves without its answer
                    one = here.connect();
                    continue;
                }
                foreign += one.read().body == "\"" + mine + "\"" ? 0 : 1;
            }
        });
    }
    for (auto& each : crowd) {
        each.join();
    }
    EXPECT_EQ(foreign, 0);
}

} // namespace
} // namespace gw::test
