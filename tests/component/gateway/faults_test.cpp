// Upstream faults: each ends in a clear answer, nothing is sent twice, and a normal request works afterwards.
#include "support/gateway.hpp"
#include "support/scripted_upstream.hpp"

#include <gmock/gmock.h>

namespace gw::test {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;

const std::string png = "\x89PNG\r\n\x1a\n0000";

std::string policy(const std::string& url, const std::string& more = "")
{
    return "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstreams:\n  up: { kind: dedicated, url: \"" + url +
           "\", engine: toolkit" + more + " }\nmodels:\n  vit: { task: image-classification, route: [up] }\n";
}

answer ask(gateway& here)
{
    return here.ask(gateway::post("/models/vit", png, "content-type: image/png\r\n"));
}

struct fault
{
    std::string why;  // this row exists
    std::string send; // by the upstream, for a whole request
    then next;
    int status;        // what the client gets
    std::string holds; // in the error
};

void PrintTo(const fault& row, std::ostream* out)
{
    *out << row.why;
}

class Fault : public testing::TestWithParam<fault>
{
};

TEST_P(Fault, EndsInAClearAnswerAndIsNotRepeated)
{
    const fault& row = GetParam();
    scripted_upstream up(scripted_upstream::always(row.send, row.next));
    gateway here(policy(up.url(), ", timeout: { first_byte: 300ms, idle: 300ms }"));
    const answer got = ask(here);
    EXPECT_EQ(got.status, row.status) << row.why << "\n" << got.body;
    EXPECT_THAT(got.body, HasSubstr(row.holds)) << row.why;
    EXPECT_LE(up.requests().size(), 1U) << "a POST is sent once";

    // The fault is lifted.
    up.change(scripted_upstream::always(scripted_upstream::json("[1]")));
    EXPECT_EQ(ask(here).body, "[1]") << row.why;
}

INSTANTIATE_TEST_SUITE_P(
    Upstream,
    Fault,
    testing::Values(
        fault{"closed before the head", "", then::close, 502, "unavailable"},
        fault{"reset before the head", "", then::reset, 502, "unavailable"},
        fault{"no HTTP at all", "hello\r\n\r\n", then::close, 502, "unavailable"},
        fault{"HTTP/0.9", "<html>hi</html>", then::close, 502, "unavailable"},
        fault{
            "two lengths",
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\ncontent-length: "
            "4\r\n\r\n[1]",
            then::read_on,
            502,
            "unavailable"
        },
        fault{
            "length and chunks",
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 3\r\ntransfer-encoding: "
            "chunked\r\n\r\n0\r\n\r\n",
            then::read_on,
            502,
            "unavailable"
        },
        fault{
            "a protocol switch nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
            then::read_on,
            502,
            "unavailable"
        },
        fault{
            "a redirect is never followed",
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
            then::read_on,
            502,
            "upstream_redirect"
        },
        fault{
            "a NUL in a header",
            "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n"s,
            then::read_on,
            502,
            "unavailable"
        },
        fault{"silence before the head", "", then::stall, 504, "timeout"},
        fault{
            "HTML with 200",
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
            then::read_on,
            502,
            "unavailable"
        },
        fault{
            "the client's own fault, in the upstream's words",
            scripted_upstream::json(R"({"error":"top_k must be positive"})", 400),
            then::read_on,
            400,
            "top_k must be positive"
        },
        fault{"500", scripted_upstream::json(R"({"error":"boom"})", 500), then::read_on, 502, "unavailable"}
    )
);

TEST(Faults, ATruncatedBodyReachesTheClientAsATruncation)
{
    scripted_upstream up([](const std::string& bytes, int) {
        return scripted_upstream::whole(bytes)
                   ? scripted{"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n[1,2,\r\n", then::close}
                   : scripted{};
    });
    gateway here(policy(up.url()));
    client one = here.connect();
    one.send(gateway::post("/models/vit", png, "content-type: image/png\r\n"));
    const answer got = one.read();
    EXPECT_EQ(got.status, 200);
    EXPECT_FALSE(got.whole) << "no last chunk may follow: " << got.body;
    EXPECT_TRUE(got.closed);

    up.change([](const std::string& bytes, int) {
        return scripted_upstream::whole(bytes)
                   ? scripted{"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n[1,2,", then::close}
                   : scripted{};
    });
    const answer sized = ask(here);
    EXPECT_EQ(sized.status, 200);
    EXPECT_FALSE(sized.whole);

    up.change(scripted_upstream::always(scripted_upstream::json("[1]")));
    EXPECT_EQ(ask(here).body, "[1]");
}

TEST(Faults, ARefusedConnectionNamesWhatToDo)
{
    gateway here(policy("http://127.0.0.1:" + std::to_string(refusing_port())));
    const answer got = ask(here);
    EXPECT_EQ(got.status, 502);
    EXPECT_THAT(got.field("x-fourways-route"), HasSubstr("up("));
}

TEST(Faults, BytesBehindTheAnswerCloseTheConnection)
{
    scripted_upstream up(scripted_upstream::always(
        scripted_upstream::json("[1]") + "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n[2]"
    ));
    gateway here(policy(up.url()));
    for (int i = 1; i <= 3; ++i) {
        EXPECT_EQ(ask(here).body, "[1]") << "never the answer that nobody asked for";
        EXPECT_EQ(up.connections(), i);
    }
}

TEST(Faults, AConnectionThatTheUpstreamClosedIsNotUsedAgain)
{
    scripted_upstream up(scripted_upstream::always(scripted_upstream::json("[1]"), then::close));
    gateway here(policy(up.url()));
    for (int i = 1; i <= 5; ++i) {
        EXPECT_EQ(ask(here).body, "[1]");
        EXPECT_EQ(up.connections(), i);
        ASSERT_TRUE(eventually([&] { return here.idle_connections() == 0; }))
            << "the closed one is noticed while it idles";
    }
}

TEST(Faults, InterimResponsesAreSwallowedAndBounded)
{
    const std::string interim = "HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n";
    scripted_upstream up(scripted_upstream::always(interim + interim + scripted_upstream::json("[1]")));
    gateway here(policy(up.url()));
    EXPECT_EQ(ask(here).body, "[1]");
    std::string flood;
    for (int i = 0; i < 20; ++i) {
        flood += interim;
    }
    up.change(scripted_upstream::always(flood + scripted_upstream::json("[1]")));
    EXPECT_EQ(ask(here).status, 502);
}

TEST(Faults, AnEarlyAnswerWhileUploadingIsDelivered)
{
    scripted_upstream up([](const std::string& bytes, int) {
        return bytes.size() > 70'000
                   ? scripted{scripted_upstream::json(R"({"error":"too big for me"})", 413), then::keep_open}
                   : scripted{};
    });
    gateway here(policy(up.url()));
    client one = here.connect();
    ASSERT_TRUE(one.send(
        "POST /models/vit HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: image/png\r\ncontent-length: "
        "1000000\r\n\r\n" +
        png + std::string(200'000, 'x')
    ));
    const answer got = one.read();
    EXPECT_EQ(got.status, 413) << got.body;
}

TEST(Faults, AClientThatLeavesWhileItWaitsEndsTheExchange)
{
    scripted_upstream up(scripted_upstream::always("", then::stall));
    gateway here(policy(up.url()));
    {
        client one = here.connect();
        one.send(gateway::post("/models/vit", png, "content-type: image/png\r\n"));
        ASSERT_TRUE(eventually([&] { return up.requests().size() == 1; }));
    }
    EXPECT_TRUE(eventually([&] { return up.closed_by_gateway() == 1; }));
}

TEST(Faults, TheDeadlineIsTheClientsToShorten)
{
    scripted_upstream up(scripted_upstream::always("", then::stall));
    gateway here(policy(up.url()));
    const answer got =
        here.ask(gateway::post("/models/vit", png, "content-type: image/png\r\nx-fourways-timeout: 200ms\r\n")
        );
    EXPECT_EQ(got.status, 504) << got.body;
}

TEST(Faults, OurTokenNeverComesBack)
{
    const std::string canary = "hf_CANARY0123456789";
    scripted_upstream up(
        scripted_upstream::always(scripted_upstream::json("{\"error\":\"bad token " + canary + "\"}", 500))
    );
    const std::string text =
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ntokens: { t: { secret: \"${T}\" } }\nupstreams:\n  up: { "
        "kind: dedicated, url: \"" +
        up.url() +
        "\", engine: toolkit, token: t }\nmodels:\n  vit: { task: image-classification, route: [up] }\n";
    gateway here(text, {{"T", canary}});
    for (const std::string& send :
         {scripted_upstream::json("{\"error\":\"bad token " + canary + "\"}", 500),
          scripted_upstream::json("[1]", 200, "x-debug: " + canary + "\r\n"),
          scripted_upstream::json("[\"" + canary + "\"]")}) {
        up.change(scripted_upstream::always(send));
        const answer got = ask(here);
        EXPECT_EQ(got.status, 502);
        EXPECT_THAT(got.body, HasSubstr("upstream_leak"));
        EXPECT_THAT(got.head + got.body, testing::Not(HasSubstr(canary)));
    }
    EXPECT_THAT(up.requests().front(), HasSubstr("authorization: Bearer " + canary))
        << "it was sent, so the search above proves something";
}

TEST(Faults, ASlowNameServerIsNotWaitedForLongerThanConnectingMayTake)
{
    scripted_upstream up(scripted_upstream::always(scripted_upstream::json("[1]")));
    std::promise<void> answers;
    const auto lookup = [waits = answers.get_future().share()](const std::string&) {
        waits.wait();
        return result<net::addresses>(net::addresses{net::asio::ip::make_address("127.0.0.1")});
    };
    const std::string slow = "http://slow.example:" + std::to_string(up.port());
    {
        gateway here(policy(slow, ", timeout: { connect: 100ms }"), {}, 1, "/var/tmp", lookup);
        const auto began = std::chrono::steady_clock::now();
        const answer got = ask(here);
        EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
        EXPECT_EQ(got.status, 504) << got.body;
        EXPECT_THAT(got.body, testing::AllOf(HasSubstr("slow.example"), HasSubstr("timeout.connect")));

        answers.set_value();
        answer later;
        for (int tries = 0; tries < 500 && later.status != 200; ++tries) { // until the answer is known
            later = ask(here);
        }
        EXPECT_EQ(later.body, "[1]") << later.status;
    }
}

} // namespace
} // namespace gw::test
