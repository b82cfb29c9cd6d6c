// Bodies: framing, limits, keep-alive, pipelining, streaming while they arrive.
#include "support/gateway.hpp"
#include "support/scripted_upstream.hpp"

#include <gmock/gmock.h>

namespace gw::test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string policy(const scripted_upstream& to, const std::string& more = "")
{
    return "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstreams:\n  up: { kind: dedicated, url: \"" +
           to.url() + "\", engine: toolkit }\n  llm: { kind: dedicated, url: \"" + to.url() +
           "\", engine: openai }\nmodels:\n  vit: { task: image-classification, route: [up] }\n  chat: { "
           "task: chat-completion, route: [llm] }\n" +
           more;
}

const std::string png = "\x89PNG\r\n\x1a\n0000";

// Answers with the number of body bytes, so that a lost byte is a wrong answer.
scripted_upstream::script count_bytes()
{
    return [](const std::string& bytes, int) {
        if (!scripted_upstream::whole(bytes)) {
            return scripted{};
        }
        return scripted{
            scripted_upstream::json("[" + std::to_string(scripted_upstream::body_of(bytes).size()) + "]"),
            then::read_on
        };
    };
}

TEST(Body, KeepsTheConnectionOnBothSides)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up));
    client one = here.connect();
    for (int i = 0; i < 20; ++i) {
        ASSERT_TRUE(one.send(gateway::post(
            "/models/vit", png + std::string(static_cast<std::size_t>(i), 'x'), "content-type: image/png\r\n"
        )));
        const answer got = one.read();
        EXPECT_EQ(got.status, 200) << got.body;
        EXPECT_EQ(got.body, "[" + std::to_string(png.size() + static_cast<std::size_t>(i)) + "]");
    }
    EXPECT_EQ(up.connections(), 1) << "every exchange was clean, so one upstream connection serves them all";
}

TEST(Body, AnswersPipelinedRequestsInOrder)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up));
    client one = here.connect();
    std::string all;
    for (std::size_t i = 0; i < 5; ++i) {
        all += gateway::post("/models/vit", png + std::string(i * 700, 'x'), "content-type: image/png\r\n");
    }
    ASSERT_TRUE(one.send(all));
    for (std::size_t i = 0; i < 5; ++i) {
        EXPECT_EQ(one.read().body, "[" + std::to_string(png.size() + i * 700) + "]");
    }
}

TEST(Body, EveryLengthAroundTheBuffersArrivesWhole)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up));
    client one = here.connect();
    for (const std::size_t edge : {4096UL, 16384UL, 60UL * 1024, 65536UL, 262144UL, 1048576UL}) {
        for (const std::size_t size : {edge - 200, edge - 1, edge, edge + 1}) {
            ASSERT_TRUE(one.send(gateway::post(
                "/models/vit", png + std::string(size - png.size(), 'x'), "content-type: image/png\r\n"
            )));
            EXPECT_EQ(one.read().body, "[" + std::to_string(size) + "]");
        }
    }
    EXPECT_EQ(up.connections(), 1);
}

TEST(Body, AnyChunkingGivesTheSameBody)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up));
    client one = here.connect();
    for (const std::size_t chunk : {1UL, 3UL, 100UL, 5000UL}) {
        std::string bytes = "POST /models/vit HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: "
                            "image/png\r\ntransfer-encoding: chunked\r\n\r\n";
        const std::string body = png + std::string(9000, 'y');
        for (std::size_t at = 0; at < body.size(); at += chunk) {
            const std::string part = body.substr(at, chunk);
            char size[16];
            std::snprintf(size, sizeof size, "%zx\r\n", part.size());
            bytes += size + part + "\r\n";
        }
        bytes += "0\r\n\r\n";
        ASSERT_TRUE(one.send(bytes));
        EXPECT_EQ(one.read().body, "[" + std::to_string(body.size()) + "]");
    }
    EXPECT_THAT(up.requests().front(), HasSubstr("content-length: 9012"))
        << "sent with its length, whatever the client's framing";
}

TEST(Body, StreamsASizedUploadWhileItArrives)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up));
    client one = here.connect();
    const std::size_t size = 600'000;
    ASSERT_TRUE(one.send(
        "POST /models/vit HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: image/png\r\ncontent-length: " +
        std::to_string(size) + "\r\n\r\n" + png
    ));
    ASSERT_TRUE(one.send(std::string(100'000, 'z')));
    EXPECT_TRUE(eventually([&] { return up.pending().size() > 90'000; }))
        << "the upstream has it before the client has sent the rest";
    ASSERT_TRUE(one.send(std::string(size - 100'000 - png.size(), 'z')));
    EXPECT_EQ(one.read().body, "[" + std::to_string(size) + "]");
}

TEST(Body, AClientThatLeavesMidUploadEndsTheUpstreamRequest)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up));
    {
        client one = here.connect();
        ASSERT_TRUE(one.send(
            "POST /models/vit HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: image/png\r\ncontent-length: "
            "600000\r\n\r\n" +
            png + std::string(100'000, 'z')
        ));
        ASSERT_TRUE(eventually([&] { return up.connections() == 1; }));
    }
    EXPECT_TRUE(eventually([&] { return up.closed_by_gateway() == 1; }));
    EXPECT_THAT(up.requests(), testing::IsEmpty()) << "nothing half-sent became a request";
    EXPECT_EQ(here.ask(gateway::post("/models/vit", png, "content-type: image/png\r\n")).status, 200);
}

TEST(Body, ExpectContinueIsAnsweredBeforeTheBody)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up));
    client one = here.connect();
    ASSERT_TRUE(one.send("POST /models/vit HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: image/png\r\nexpect: "
                         "100-continue\r\ncontent-length: 12\r\n\r\n"));
    ASSERT_TRUE(one.more());
    EXPECT_EQ(one.held(), "HTTP/1.1 100 Continue\r\n\r\n");
    ASSERT_TRUE(one.send(png));
    EXPECT_EQ(one.read().body, "[12]");
}

TEST(Body, TooLargeIsRefusedBeforeItIsRead)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up));
    client one = here.connect();
    ASSERT_TRUE(one.send("POST /models/vit HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: image/png\r\nexpect: "
                         "100-continue\r\ncontent-length: 99999999999\r\n\r\n"));
    ASSERT_TRUE(one.more());
    EXPECT_THAT(one.held(), StartsWith("HTTP/1.1 413 ")) << "and no 100 before it";
    const answer got = one.read();
    EXPECT_THAT(got.body, HasSubstr("limits.payload_bytes"));
    EXPECT_TRUE(one.at_end());
    EXPECT_EQ(up.connections(), 0);
}

TEST(Body, ASlowBodyIsEnded)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up, "limits: { body_grace: 200ms }\n"));
    client one = here.connect();
    ASSERT_TRUE(one.send("POST /models/vit HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: "
                         "image/png\r\ncontent-length: 100\r\n\r\nabc"));
    const answer got = one.read();
    EXPECT_EQ(got.status, 408);
    EXPECT_THAT(got.body, HasSubstr("request_timeout"));
    EXPECT_EQ(up.connections(), 0);
}

TEST(Body, ASlowHeadIsEnded)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up, "limits: { header_timeout: 200ms }\n"));
    client one = here.connect();
    ASSERT_TRUE(one.send("GET /health HTTP/1.1\r\nhost: 127."));
    EXPECT_EQ(one.read().status, 408);
    EXPECT_TRUE(one.at_end());
}

TEST(Body, BadFramingAnswersOnceAndCloses)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up));
    client one = here.connect();
    ASSERT_TRUE(one.send("POST /models/vit HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: "
                         "chunked\r\ncontent-length: 4\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
                         "GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"));
    const answer got = one.read();
    EXPECT_EQ(got.status, 400);
    EXPECT_THAT(got.body, HasSubstr("bad_framing"));
    EXPECT_TRUE(one.at_end());
    EXPECT_EQ(up.connections(), 0);
}

TEST(Body, BadJsonIsRefusedWithItsPlaceAndTheConnectionStays)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up));
    client one = here.connect();
    ASSERT_TRUE(one.send(gateway::post("/v1/chat/completions", R"({"model":"chat","messages":[)")));
    const answer got = one.read();
    EXPECT_EQ(got.status, 400);
    EXPECT_THAT(got.body, HasSubstr("invalid_json"));
    ASSERT_TRUE(one.send("GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"));
    EXPECT_EQ(one.read().status, 200) << "the message was read completely";
    EXPECT_EQ(up.connections(), 0);
}

TEST(Body, LargeJsonIsCheckedWholeBeforeAnythingIsSent)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up));
    const std::string good =
        R"({"model":"chat","messages":[{"role":"user","content":")" + std::string(700'000, 'a') + R"("}]})";
    EXPECT_EQ(
        here.ask(gateway::post("/v1/chat/completions", good)).body, "[" + std::to_string(good.size()) + "]"
    );
    std::string bad = good;
    bad.back() = ']';
    const answer got = here.ask(gateway::post("/v1/chat/completions", bad));
    EXPECT_EQ(got.status, 400);
    EXPECT_EQ(up.requests().size(), 1U);
}

// A media type that the client names inside JSON travels as Content-Type, in both directions and into data:
// URLs.
TEST(Body, AMediaTypeInJsonEndsNoLineOfAHead)
{
    scripted_upstream up(count_bytes());
    gateway here(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ntokens: { a: { secret: \"${A}\" } }\nupstreams:\n  up: { "
        "kind: serverless, url: \"" +
            up.url() + "\", token: a }\nmodels:\n  org/vit: { task: image-classification, route: [up] }\n",
        {{"A", "hf_aaaaaaaaaa"}}
    );
    for (const std::string inputs :
         {R"({"base64":"iVBORw0KGgowMDAw","media_type":"image/png\r\nx-evil: 1"})",
          R"("data:image/png\u000d\u000ax-evil: 1;base64,iVBORw0KGgowMDAw")"}) {
        const answer got =
            here.ask(gateway::post("/v1/inference", R"({"model":"org/vit","inputs":)" + inputs + "}"));
        EXPECT_NE(got.status, 0);
    }
    ASSERT_FALSE(up.requests().empty());
    for (const std::string& each : up.requests()) {
        EXPECT_THAT(each, testing::Not(HasSubstr("evil")));
        EXPECT_THAT(each, HasSubstr("content-type: image/png\r\n"));
    }
}

TEST(Body, Http10GetsItsAnswerAndTheEnd)
{
    scripted_upstream up(count_bytes());
    gateway here(policy(up));
    client one = here.connect();
    ASSERT_TRUE(one.send(
        "POST /models/vit HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-type: image/png\r\ncontent-length: "
        "12\r\n\r\n" +
        png
    ));
    const answer got = one.read();
    EXPECT_EQ(got.status, 200);
    EXPECT_EQ(got.body, "[12]");
    EXPECT_TRUE(one.at_end());
}

} // namespace
} // namespace gw::test
