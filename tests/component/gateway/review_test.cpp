// Limits end what they are for and nothing else; who is to blame; what a refusal leaves open.
#include "runtime/admin.hpp"
#include "support/gateway.hpp"
#include "support/scripted_upstream.hpp"
#include "telemetry/access_record.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <future>

namespace gw::test {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string png = "\x89PNG\r\n\x1a\n0000";
const std::string image = "content-type: image/png\r\n";
const std::string event_head =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const std::string stream_request =
    R"({"model":"chat","stream":true,"messages":[{"role":"user","content":"hi"}]})";
const std::string word =
    R"(data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]})"
    "\n\n";

std::string policy(const scripted_upstream& to, const std::string& keys = "", const std::string& more = "")
{
    return "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ntokens: { t: { secret: \"${T}\" } }\nupstreams:\n  up: "
           "{ kind: dedicated, url: \"" +
           to.url() + "\", engine: toolkit" + keys + " }\n  llm: { kind: dedicated, url: \"" + to.url() +
           "\", engine: openai, token: t" + keys +
           " }\nmodels:\n  vit: { task: image-classification, route: [up] }\n  chat: { task: "
           "chat-completion, route: [llm] }\n" +
           more;
}
const std::map<std::string, std::string> env{{"T", "hf_CANARY0123456789"}};

std::string chunk(const std::string& bytes)
{
    std::array<char, 20> size{};
    std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
    return size.data() + bytes + "\r\n";
}

// An upstream that answers when it is told to, not before.
class held_upstream
{
public:
    explicit held_upstream(std::string answer)
        : gate_(open_.get_future().share()),
          up_([gate = gate_, answer = std::move(answer)](const std::string& bytes, int) {
              if (!scripted_upstream::whole(bytes)) {
                  return scripted{};
              }
              gate.wait_for(patience);
              return scripted{answer, then::read_on};
          })
    {
    }
    ~held_upstream() { release(); }
    held_upstream(const held_upstream&) = delete;
    held_upstream& operator=(const held_upstream&) = delete;
    void release()
    {
        if (!std::exchange(released_, true)) {
            open_.set_value();
        }
    }
    scripted_upstream& up() { return up_; }

private:
    std::promise<void> open_;
    std::shared_future<void> gate_;
    bool released_ = false;
    scripted_upstream up_;
};

TEST(Limits, IdleDoesNotRunBeforeTheFirstByte)
{
    held_upstream slow(scripted_upstream::json("[1]"));
    gateway here(policy(slow.up(), ", timeout: { idle: 200ms }"), env);
    client one = here.connect();
    one.send(gateway::post("/models/vit", png, image));
    EXPECT_FALSE(one.fd().receive(milliseconds(700)))
        << "a plain answer has no limit of its own but the deadline";
    slow.release();
    EXPECT_EQ(one.read().status, 200);
}

TEST(Limits, TheBodysGraceEndsWithTheBody)
{
    held_upstream slow(scripted_upstream::json("[1]"));
    gateway here(policy(slow.up(), "", "limits: { body_grace: 200ms }\n"), env);
    client one = here.connect();
    one.send(
        "POST /models/vit HTTP/1.1\r\nhost: 127.0.0.1\r\n" + image +
        "expect: 100-continue\r\ncontent-length: 12\r\n\r\n"
    );
    ASSERT_TRUE(one.more());
    one.held().clear(); // 100 Continue: the gateway waits for the body now
    one.send(png);
    EXPECT_FALSE(one.fd().receive(milliseconds(600)));
    slow.release();
    EXPECT_EQ(one.read().status, 200);
    one.send(gateway::post("/models/vit", png, image));
    EXPECT_EQ(one.read().status, 200) << "the connection goes on";
}

TEST(Limits, ASmallBodyThatDripsIsEnded)
{
    scripted_upstream up(scripted_upstream::always(scripted_upstream::json("[1]")));
    gateway here(policy(up, "", "limits: { body_grace: 300ms }\n"), env);
    client one = here.connect();
    one.send("POST /models/vit HTTP/1.1\r\nhost: 127.0.0.1\r\n" + image + "content-length: 40\r\n\r\n" + png);
    std::string got;
    for (int i = 0; i < 28 && got.empty(); ++i) {
        one.send("x");
        got = one.fd().receive(milliseconds(100)).value_or("");
    }
    EXPECT_THAT(got, testing::StartsWith("HTTP/1.1 408 "));
    EXPECT_EQ(up.connections(), 0);
}

TEST(Limits, TotalEndsAStream)
{
    scripted_upstream up([](const std::string& bytes, int) {
        return scripted_upstream::whole(bytes) ? scripted{event_head + chunk(word), then::keep_open}
                                               : scripted{};
    });
    gateway here(policy(up, ", timeout: { total: 300ms }"), env);
    client one = here.connect();
    one.send(gateway::post("/v1/chat/completions", stream_request));
    const answer got = one.read();
    EXPECT_EQ(got.status, 200);
    EXPECT_FALSE(got.whole);
    EXPECT_THAT(got.body, HasSubstr("timeout")) << "one error event";
}

TEST(Limits, TheDeadlineEndsAnUploadThatWaitsForASlot)
{
    held_upstream busy(scripted_upstream::json("[1]"));
    gateway here(policy(busy.up(), ", max_in_flight: 1"), env);
    client first = here.connect();
    first.send(gateway::post("/models/vit", png, image));
    ASSERT_TRUE(eventually([&] { return busy.up().connections() == 1; }));

    const std::size_t size = 300'000;
    client second = here.connect();
    second.send(
        "POST /models/vit HTTP/1.1\r\nhost: 127.0.0.1\r\nx-fourways-timeout: 300ms\r\n" + image +
        "content-length: " + std::to_string(size) + "\r\n\r\n" + png + std::string(size - png.size() - 1, 'x')
    );
    ASSERT_TRUE(eventually([&] { return here.known.room.waiting() == 1; }))
        << "the body may stream, so it waits for its slot already";
    second.send("x");
    const answer late = second.read();
    EXPECT_THAT(late.status, testing::AnyOf(429, 504)) << late.body;
    busy.release();
    EXPECT_EQ(first.read().status, 200);
}

TEST(Limits, ABodyWithoutAPlaceDoesNotWaitForEver)
{
    gateway here(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstreams:\n  up: { kind: dedicated, url: "
        "\"http://127.0.0.1:" +
            std::to_string(refusing_port()) +
            "\", engine: toolkit }\nmodels:\n  vit: { task: image-classification, route: [up] }\n",
        {},
        1,
        "/nowhere"
    );
    const auto rests = [&] { return !here.known.resting(std::chrono::steady_clock::now()).empty(); };
    for (int i = 0; i < 20 && !rests(); ++i) {
        EXPECT_GE(here.ask(gateway::post("/models/vit", png, image)).status, 429);
    }
    ASSERT_TRUE(rests());
    // The next one is to be the probe, which needs its body whole; but there is no disk, and nobody reads it.
    client one = here.connect();
    ASSERT_TRUE(one.send(
        "POST /models/vit HTTP/1.1\r\nhost: 127.0.0.1\r\n" + image + "content-length: 2000000\r\n\r\n" + png +
        std::string(400'000, 'x')
    ));
    EXPECT_GE(one.read().status, 429);
}

TEST(Blame, AClientThatLeavesAStreamIsHeldAgainstNobody)
{
    scripted_upstream up([](const std::string& bytes, int) {
        return scripted_upstream::whole(bytes) ? scripted{event_head + chunk(word), then::keep_open}
                                               : scripted{};
    });
    gateway here(policy(up), env);
    for (int i = 1; i <= 8; ++i) {
        client one = here.connect();
        one.send(gateway::post("/v1/chat/completions", stream_request));
        while (one.held().find("\"a\"") == std::string::npos) {
            ASSERT_TRUE(one.more()) << "after " << i - 1 << " streams that were left";
        }
        one.close();
        ASSERT_TRUE(eventually([&] { return up.closed_by_gateway() == i; }));
    }
    EXPECT_THAT(here.known.resting(std::chrono::steady_clock::now()), IsEmpty());
}

TEST(Refusals, AChunkedBodyThatWasReadKeepsTheConnection)
{
    scripted_upstream up(scripted_upstream::always(scripted_upstream::json("[1]")));
    gateway here(policy(up), env);
    client one = here.connect();
    one.send(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: "
        "application/json\r\ntransfer-encoding: chunked\r\n\r\n" +
        chunk(R"({"model":"no/such","messages":[]})") + "0\r\n\r\n"
    );
    EXPECT_EQ(one.read().status, 404);
    one.send(gateway::post("/models/vit", png, image));
    EXPECT_EQ(one.read().status, 200);
}

TEST(Refusals, AnUnwantedChunkedBodyIsAnnouncedAsTheEnd)
{
    scripted_upstream up(scripted_upstream::always(scripted_upstream::json("[1]")));
    gateway here(policy(up), env);
    client one = here.connect();
    one.send("GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\ntransfer-encoding: chunked\r\n\r\n");
    const answer got = one.read();
    EXPECT_EQ(got.status, 200);
    EXPECT_EQ(got.field("connection"), "close");
}

TEST(Payloads, ATemplateWithManyPlaceholdersIsSent)
{
    scripted_upstream up(
        scripted_upstream::always(scripted_upstream::json(R"({"out":[{"label":"a","score":1}]})"))
    );
    std::string keys;
    for (int i = 0; i < 10; ++i) {
        keys += "k" + std::to_string(i) + ": $parameters, ";
    }
    gateway here(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstreams:\n  own: { kind: dedicated, url: \"" + up.url() +
        "\", engine: custom, request: { " + keys +
        "image: $base64 }, answer: /out }\nmodels:\n  vit: { task: image-classification, route: [own] }\n"
    );
    const answer got =
        here.ask(gateway::post("/models/vit", R"({"inputs":"iVBORw0KGgowMDAw","parameters":{"top_k":3}})"));
    EXPECT_EQ(got.status, 200) << got.body;
    ASSERT_EQ(up.requests().size(), 1U);
    EXPECT_THAT(up.requests().front(), HasSubstr(R"("k9":{"top_k":3})"));
}

TEST(Payloads, ALongDocumentIsReadWholeAtTheDisksPace)
{
    const std::string text(20'000'000, 'z');
    scripted_upstream up(scripted_upstream::always(
        scripted_upstream::json(R"({"out":[{"label":")" + text + R"(","score":1}]})")
    ));
    gateway here(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstreams:\n  own: { kind: dedicated, url: \"" + up.url() +
        "\", engine: custom, request: { image: $base64 }, answer: /out }\nmodels:\n  vit: { task: "
        "image-classification, route: [own] }\n"
    );
    const answer got = here.ask(gateway::post("/models/vit", png, image));
    EXPECT_EQ(got.status, 200);
    EXPECT_TRUE(got.body == R"([{"label":")" + text + R"(","score":1}])")
        << got.body.size() << " bytes: " << got.body.substr(0, 100);
    EXPECT_EQ(here.idle_connections(), 1U);
}

TEST(Secrets, ALastEventWithoutItsBlankLineIsSearchedToo)
{
    scripted_upstream up(scripted_upstream::always(
        event_head +
        chunk(
            word +
            R"(data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hf_CANARY0123456789"}}]})"
        ) +
        "0\r\n\r\n"
    ));
    gateway here(policy(up), env);
    const answer got = here.ask(gateway::post("/v1/chat/completions", stream_request));
    EXPECT_THAT(got.body, HasSubstr("\"a\""));
    EXPECT_THAT(got.body, Not(HasSubstr("hf_CANARY")));
}

TEST(Buffers, GrowWhileAnAnswerFlows)
{
    const std::string long_text(4'000'000, 'z');
    scripted_upstream up([&](const std::string& bytes, int) {
        return scripted_upstream::whole(bytes)
                   ? scripted{"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n\"" + long_text + "\"", then::close}
                   : scripted{};
    });
    gateway here(policy(up), env);
    client one = here.connect();
    one.send(gateway::post("/models/vit", png, image));
    while (one.held().size() < long_text.size()) {
        ASSERT_TRUE(one.more());
    }
    std::size_t largest = 0;
    std::size_t at = one.held().find("\r\n\r\n") + 4;
    while (at < one.held().size()) {
        const std::size_t size = std::stoul(one.held().substr(at, 8), nullptr, 16);
        largest = std::max(largest, size);
        at = one.held().find("\r\n", at) + 2 + size + 2;
    }
    EXPECT_GE(largest, 32U * 1024) << "one chunk is one read of the upstream";
}

TEST(Records, AReaderThatStallsDoesNotKeepTheGatewayFromEnding)
{
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const socket_fd reading(ends[0]);
    const socket_fd writing(ends[1]);
    std::promise<void> promise;
    const auto over = promise.get_future();
    std::thread writer([&] {
        {
            telemetry::line_writer lines(writing.get());
            lines.put(std::string(1'000'000, 'x') + "\n", 1);
        }
        promise.set_value();
    });
    EXPECT_EQ(over.wait_for(patience), std::future_status::ready);
    std::array<char, 65536> sink{};
    while (over.wait_for(milliseconds(0)) != std::future_status::ready) {
        (void)!::read(reading.get(), sink.data(), sink.size()); // it failed: let it end
    }
    writer.join();
}

// ---- the admin listener ----

class admin_listener
{
public:
    explicit admin_listener(const std::string& policy)
        : settings_(*config::load_text(
              policy, "policy.yaml", [](std::string_view) -> std::optional<std::string> { return {}; }
          )),
          bound_(*runtime::bind_first({.host = "127.0.0.1", .port = 0})), port_(bound_.at.port()),
          admin_(
              net::tcp_acceptor(loop_, bound_.at.protocol(), bound_.socket.release()),
              {.ready = [] { return true; },
               .metrics = [] { return std::string("metrics\n"); },
               .workers = [] { return std::string("{}"); },
               .reload = [] { return std::pair(true, std::string("{}")); },
               .now = [this] { return settings_; }}
          )
    {
        admin_.start();
        thread_ = std::thread([this] { loop_.run(); });
    }
    ~admin_listener()
    {
        loop_.stop();
        thread_.join();
    }
    admin_listener(const admin_listener&) = delete;
    admin_listener& operator=(const admin_listener&) = delete;

    std::string ask(const std::string& path, const std::string& fields)
    {
        client one(port_);
        one.send("GET " + path + " HTTP/1.1\r\n" + fields + "\r\n");
        return one.more() ? one.held().substr(9, 3) : "";
    }

private:
    std::shared_ptr<const config::settings> settings_;
    net::asio::io_context loop_{1};
    runtime::bound bound_;
    std::uint16_t port_;
    runtime::admin admin_;
    std::thread thread_;
};

TEST(Admin, AnswersToItsOwnNamesOnly)
{
    admin_listener here("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstreams: { a: { kind: dedicated, url: "
                        "\"http://127.0.0.1:1\" } }\n"
                        "models: { m: { task: image-classification, route: [a] } }\n");
    for (const char* good : {"localhost", "127.0.0.1:8081", "[::1]:8081", "[::1]"}) {
        EXPECT_EQ(here.ask("/metrics", "host: " + std::string(good) + "\r\n"), "200") << good;
    }
    for (const char* bad : {"evil.example", "127.0.0.1.evil.example", "127.evil.example:8081"}) {
        EXPECT_EQ(here.ask("/metrics", "host: " + std::string(bad) + "\r\n"), "403")
            << bad << ": a web page's name for us";
    }
}

} // namespace
} // namespace gw::test
