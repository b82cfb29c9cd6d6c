#include "wire/response_head.hpp"

#include "splits.hpp"

#include <string>
#include <vector>

namespace gw::wire {
namespace {

using namespace std::string_literals;

struct refusal
{
    const char* why;
    std::string bytes;
};

const std::vector<refusal>& refusals()
{
    static const std::vector<refusal> all = {
        {"garbage", "garbage\r\n\r\n"},
        {"HTTP/0.9: a body at once", "<html>hello</html>"},
        {"lowercase protocol", "http/1.1 200 OK\r\n\r\n"},
        {"version 2", "HTTP/2.0 200 OK\r\n\r\n"},
        {"version 1.2", "HTTP/1.2 200 OK\r\n\r\n"},
        {"a placeholder for the version", "HTTP/1.? 200 OK\r\n\r\n"},
        {"placeholders for the status", "HTTP/1.1 ##0 OK\r\n\r\n"},
        {"two-digit status", "HTTP/1.1 20 OK\r\n\r\n"},
        {"four-digit status", "HTTP/1.1 2000 OK\r\n\r\n"},
        {"status glued to the reason", "HTTP/1.1 200OK\r\n\r\n"},
        {"status 099", "HTTP/1.1 099 X\r\n\r\n"},
        {"status 600", "HTTP/1.1 600 X\r\n\r\n"},
        {"two spaces before the status", "HTTP/1.1  200 OK\r\n\r\n"},
        {"switching protocols",
         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\nConnection: upgrade\r\n\r\n"},
        {"leading CR LF", "\r\nHTTP/1.1 200 OK\r\n\r\n"},
        {"bare LF behind the status line", "HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"},
        {"bare CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n"},
        {"NUL in the reason", "HTTP/1.1 200 O\0K\r\n\r\n"s},
        {"NUL in a value", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"s},
        {"bare CR in a value", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n"},
        {"bare LF behind a field", "HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n"},
        {"folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n"},
        {"space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"},
        {"empty name", "HTTP/1.1 200 OK\r\n: 0\r\n\r\n"},
        {"length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"},
        {"two equal lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"},
        {"length list", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n"},
        {"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"},
        {"empty length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n"},
        {"coding gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"},
        {"coding list", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
        {"two codings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
        },
        {"coding on HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
    };
    return all;
}

response_head accepted(const std::string& bytes, bool head_request = false)
{
    static std::vector<std::unique_ptr<std::string>> kept;
    kept.push_back(std::make_unique<std::string>(bytes));
    response_head head;
    const auto size = scan_response_head(*kept.back(), response_limits, head, head_request);
    if (!size) {
        ADD_FAILURE() << testing::PrintToString(size.error()) << "\nfor " << bytes;
    } else {
        EXPECT_EQ(*size, bytes.size()) << bytes;
    }
    return head;
}

TEST(response_head, refuses_an_upstream_that_speaks_ambiguously)
{
    for (const refusal& each : refusals()) {
        response_head head;
        const auto verdict = scan_response_head(each.bytes, response_limits, head);
        ASSERT_FALSE(verdict) << each.why << ": accepted or waiting";
        EXPECT_EQ(verdict.error().what, code::unavailable) << each.why;
        EXPECT_EQ(verdict.error().http_status(), 502) << each.why;
        EXPECT_EQ(verdict.error().from, origin::upstream) << each.why;
        EXPECT_EQ(verdict.error().again, retry::never) << each.why;
        EXPECT_FALSE(verdict.error().detail.empty()) << each.why;
    }
}

TEST(response_head, says_the_same_however_the_bytes_are_split)
{
    response_head head;
    const auto scan = [&head](std::string_view bytes) {
        return scan_response_head(bytes, response_limits, head);
    };
    for (const refusal& each : refusals()) {
        expect_same_for_every_prefix(each.bytes, scan);
    }
    for (const std::string_view each :
         {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: \t y \r\n\r\nhello",
          "HTTP/1.1 200\r\n\r\n",
          "HTTP/1.0 404 \r\n\r\n"}) {
        expect_same_for_every_prefix(each, scan);
    }
}

TEST(response_head, reads_a_whole_answer)
{
    const response_head head = accepted(
        crlf("HTTP/1.1 429 Too Many Requests\nContent-Type: application/json\nContent-Length: "
             "17\nRetry-After: 12\n"
             "RateLimit: \"api\";r=0;t=55\nLocation: /x\nContent-Encoding: gzip\nX-Request-Id: Root=1\n"
             "x-inference-provider: cerebras\nX-Error-Code: GatedRepo\nX-Error-Message: no\nx-compute-type: "
             "cpu\nServer: s\n\n")
    );
    EXPECT_EQ(head.status, 429);
    EXPECT_EQ(head.reason, "Too Many Requests");
    EXPECT_EQ(head.minor, 1);
    EXPECT_EQ(head.body, framing::sized);
    EXPECT_EQ(head.content_length, 17u);
    EXPECT_TRUE(head.keep_alive);
    EXPECT_FALSE(head.interim());
    EXPECT_EQ(head.content_type, "application/json");
    EXPECT_EQ(head.retry_after, "12");
    EXPECT_EQ(head.ratelimit, "\"api\";r=0;t=55");
    EXPECT_EQ(head.location, "/x");
    EXPECT_EQ(head.content_encoding, "gzip");
    EXPECT_EQ(head.x_request_id, "Root=1");
    EXPECT_EQ(head.x_inference_provider, "cerebras");
    EXPECT_EQ(head.error_code, "GatedRepo");
    EXPECT_EQ(head.error_message, "no");
    EXPECT_EQ(head.compute_type, "cpu");
    EXPECT_EQ(head.server, "s");
    EXPECT_EQ(head.fields.size(), 12u);
}

TEST(response_head, accepts_a_status_line_without_a_reason)
{
    EXPECT_EQ(accepted("HTTP/1.1 200\r\n\r\n").reason, "");
    EXPECT_EQ(accepted("HTTP/1.1 200 \r\n\r\n").reason, "");
    EXPECT_EQ(accepted("HTTP/1.1 200 \xc3\x9c ber\t!\r\n\r\n").reason, "\xc3\x9c ber\t!");
}

TEST(response_head, finds_the_end_of_every_kind_of_body)
{
    EXPECT_EQ(accepted("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").body, framing::sized);
    EXPECT_EQ(accepted("HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n").body, framing::chunked);
    const response_head open = accepted("HTTP/1.1 200 OK\r\n\r\n");
    EXPECT_EQ(open.body, framing::until_close);
    EXPECT_FALSE(open.keep_alive);

    EXPECT_EQ(accepted("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true).body, framing::none);
    EXPECT_TRUE(accepted("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true).keep_alive);
    EXPECT_EQ(accepted("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true).body, framing::none);
    EXPECT_EQ(accepted("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").body, framing::none);
    EXPECT_TRUE(accepted("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").keep_alive);
    EXPECT_EQ(accepted("HTTP/1.1 204 No Content\r\n\r\n").body, framing::none);
    EXPECT_TRUE(accepted("HTTP/1.1 204 No Content\r\n\r\n").keep_alive);
    EXPECT_TRUE(accepted("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n").keep_alive);
    EXPECT_FALSE(accepted("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n").keep_alive);

    const response_head interim = accepted("HTTP/1.1 100 Continue\r\n\r\n");
    EXPECT_TRUE(interim.interim());
    EXPECT_EQ(interim.body, framing::none);
    EXPECT_TRUE(interim.keep_alive);
}

TEST(response_head, keeps_the_connection_by_version_and_field)
{
    EXPECT_FALSE(accepted("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").keep_alive);
    EXPECT_FALSE(accepted("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keep_alive);
    EXPECT_TRUE(accepted("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n").keep_alive
    );
}

TEST(response_head, tells_how_long_the_other_side_keeps_the_connection)
{
    const auto keeps = [](const std::string& value) {
        return accepted("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: " + value + "\r\n\r\n").keeps;
    };
    EXPECT_EQ(keeps("timeout=5"), std::chrono::seconds(5));
    EXPECT_EQ(keeps("max=100, timeout=65"), std::chrono::seconds(65));
    EXPECT_EQ(keeps("timeout=0, max=1"), std::chrono::seconds(0));
    EXPECT_EQ(keeps("timeout=99999999999999999999"), std::nullopt);
    EXPECT_EQ(keeps("timeout=x"), std::nullopt);
    EXPECT_EQ(keeps("max=100"), std::nullopt);
    EXPECT_EQ(accepted("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").keeps, std::nullopt);
}

TEST(response_head, limits_its_fields_and_bytes)
{
    std::string many = "HTTP/1.1 200 OK\r\n";
    for (int i = 0; i < 5000; ++i) {
        many += "X: 1\r\n";
    }
    response_head head;
    EXPECT_FALSE(scan_response_head(many, response_limits, head));
    EXPECT_FALSE(
        scan_response_head("HTTP/1.1 200 OK\r\nX: " + std::string(200 * 1024, 'x'), response_limits, head)
    );
    const auto waiting =
        scan_response_head("HTTP/1.1 200 OK\r\nX: " + std::string(60 * 1024, 'x'), response_limits, head);
    ASSERT_TRUE(waiting);
    EXPECT_FALSE(*waiting);
}

} // namespace
} // namespace gw::wire
