// Event streams: fallback before the first content, never after it; comments; who leaves is noticed.
#include "support/gateway.hpp"
#include "support/scripted_upstream.hpp"

#include <gmock/gmock.h>

namespace gw::test {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string policy(const std::string& first, const std::string& second, const std::string& more = "")
{
    return "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstreams:\n  one: { kind: dedicated, url: \"" + first +
           "\", engine: openai }\n  two: { kind: dedicated, url: \"" + second +
           "\", engine: openai }\nmodels:\n  chat: { task: chat-completion, route: [one, two] }\n" + more;
}

const std::string head =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const std::string role =
    R"(data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":null}}]})"
    "\n\n";
std::string word(const std::string& text)
{
    return R"(data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":")" +
           text + "\"}}]}\n\n";
}
const std::string done = "data: [DONE]\n\n";
std::string chunk(const std::string& bytes)
{
    char size[16];
    std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
    return size + bytes + "\r\n";
}
const std::string last = "0\r\n\r\n";
const std::string asked = R"({"model":"chat","stream":true,"messages":[{"role":"user","content":"hi"}]})";

TEST(Stream, EventsGoOnUntouched)
{
    const std::string events = role + word("a") + ": keep-alive\n\n" + word("b") + done;
    scripted_upstream up(scripted_upstream::always(head + chunk(events) + last));
    gateway here(policy(up.url(), up.url()));
    client one = here.connect();
    for (int i = 0; i < 3; ++i) {
        one.send(gateway::post("/v1/chat/completions", asked));
        const answer got = one.read();
        EXPECT_EQ(got.status, 200);
        EXPECT_EQ(got.body, role + word("a") + word("b") + done) << "comments are swallowed";
        EXPECT_TRUE(got.whole);
        EXPECT_THAT(got.field("content-type"), testing::StartsWith("text/event-stream"));
    }
}

TEST(Stream, AConnectionThatIsClosedRightBehindAStreamIsNotLent)
{
    const std::string whole = head + chunk(role + word("a") + done) + last;
    scripted_upstream up(scripted_upstream::always(whole, then::close)); // after it promised to keep it
    gateway here(policy(up.url(), up.url()));
    client one = here.connect();
    for (int i = 1; i <= 20; ++i) {
        one.send(gateway::post("/v1/chat/completions", asked));
        EXPECT_EQ(one.read().field("x-fourways-route"), "one(200)") << i;
    }
}

TEST(Stream, FallsBackBeforeTheFirstContent)
{
    for (const std::string& bad :
         {head +
              chunk(R"(data: {"error":{"message":"Model is overloaded","http_status_code":429}})"
                    "\n\n") +
              last,
          head + chunk(role) + chunk("data: {\"error\":\"boom\"}\n\n") + last,
          head + chunk(role)}) {
        scripted_upstream first(scripted_upstream::always(bad, then::close));
        scripted_upstream second(scripted_upstream::always(head + chunk(role + word("ok") + done) + last));
        gateway here(policy(first.url(), second.url()));
        const answer got = here.ask(gateway::post("/v1/chat/completions", asked));
        EXPECT_EQ(got.body, role + word("ok") + done) << bad;
        EXPECT_THAT(got.field("x-fourways-route"), HasSubstr("two(200)"));
        EXPECT_EQ(first.requests().size(), 1U);
    }
}

TEST(Stream, NeverAfterIt)
{
    scripted_upstream first(scripted_upstream::always(head + chunk(role + word("half")), then::close));
    scripted_upstream second(scripted_upstream::always(head + chunk(role + word("ok") + done) + last));
    gateway here(policy(first.url(), second.url()));
    const answer got = here.ask(gateway::post("/v1/chat/completions", asked));
    EXPECT_EQ(got.status, 200);
    EXPECT_THAT(got.body, HasSubstr(word("half")));
    EXPECT_THAT(got.body, HasSubstr("broken_stream"));
    EXPECT_THAT(got.body, Not(HasSubstr("[DONE]")));
    EXPECT_FALSE(got.whole) << "the end of the chunked body must be missing";
    EXPECT_EQ(second.connections(), 0);
    first.change(scripted_upstream::always(head + chunk(role + word("a") + done) + last));
    EXPECT_TRUE(here.ask(gateway::post("/v1/chat/completions", asked)).whole);
}

TEST(Stream, SilenceIsFilledWithComments)
{
    scripted_upstream first([](const std::string& bytes, int) {
        return scripted_upstream::whole(bytes) ? scripted{"", then::stall} : scripted{};
    });
    scripted_upstream second(scripted_upstream::always(head + chunk(role + word("ok") + done) + last));
    gateway here(policy(first.url(), second.url(), "limits: { waiting_comment: 200ms }\n"));
    client one = here.connect();
    one.send(gateway::post("/v1/chat/completions", asked));
    while (one.held().find(": waiting\n\n") == std::string::npos) {
        ASSERT_TRUE(one.more());
    }
    EXPECT_THAT(one.held(), testing::StartsWith("HTTP/1.1 200 OK"));
}

TEST(Stream, AJsonAnswerIsRenderedAsChunks)
{
    scripted_upstream up(scripted_upstream::always(scripted_upstream::json(
        R"({"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"whole"}}]})"
    )));
    gateway here(policy(up.url(), up.url()));
    const answer got = here.ask(gateway::post("/v1/chat/completions", asked));
    EXPECT_EQ(got.status, 200);
    EXPECT_THAT(got.field("content-type"), testing::StartsWith("text/event-stream"));
    EXPECT_THAT(got.body, HasSubstr(R"("content":"whole")"));
    EXPECT_THAT(got.body, testing::EndsWith(done));
}

TEST(Stream, AnEventStreamNobodyAskedForIsUnavailable)
{
    scripted_upstream first(scripted_upstream::always(head + chunk(role + word("a") + done) + last));
    scripted_upstream second(scripted_upstream::always(scripted_upstream::json(R"({"choices":[]})")));
    gateway here(policy(first.url(), second.url()));
    const answer got = here.ask(gateway::post("/v1/chat/completions", R"({"model":"chat","messages":[]})"));
    EXPECT_EQ(got.body, R"({"choices":[]})");
}

TEST(Stream, AClientThatLeavesFreesTheUpstream)
{
    scripted_upstream up([](const std::string& bytes, int) {
        return scripted_upstream::whole(bytes) ? scripted{head + chunk(role + word("a")), then::keep_open}
                                               : scripted{};
    });
    gateway here(policy(up.url(), up.url()));
    {
        client one = here.connect();
        one.send(gateway::post("/v1/chat/completions", asked));
        while (one.held().find("\"a\"") == std::string::npos) {
            ASSERT_TRUE(one.more());
        }
    }
    EXPECT_TRUE(eventually([&] { return up.closed_by_gateway() == 1; }));
}

TEST(Stream, AnySplitOfTheEventsGivesTheSameStream)
{
    const std::string events = role + word("a\\u00e9") + word("b") + done;
    for (std::size_t step : {1UL, 2UL, 7UL, 50UL, 200UL}) {
        std::string body;
        for (std::size_t at = 0; at < events.size(); at += step) {
            body += chunk(events.substr(at, step));
        }
        scripted_upstream up(scripted_upstream::always(head + body + last));
        gateway here(policy(up.url(), up.url()));
        EXPECT_EQ(here.ask(gateway::post("/v1/chat/completions", asked)).body, events) << step;
    }
}

} // namespace
} // namespace gw::test
