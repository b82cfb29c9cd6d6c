#include "wire/request_head.hpp"

#include "splits.hpp"

#include <gmock/gmock.h>

#include <array>
#include <string>

namespace gw::wire {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr head_limits limits{};

result<std::optional<std::size_t>> scan(std::string_view bytes, request_head& out)
{
    return scan_request_head(bytes, limits, out);
}

// What a head without a fault is read as. The views point into a string that lives as long as the test
// program.
request_head accepted(std::string bytes)
{
    static std::vector<std::unique_ptr<std::string>> kept;
    kept.push_back(std::make_unique<std::string>(std::move(bytes)));
    request_head head;
    const auto size = scan(*kept.back(), head);
    if (!size) {
        ADD_FAILURE() << testing::PrintToString(size.error()) << "\nfor " << *kept.back();
    } else {
        EXPECT_TRUE(size->has_value()) << "wants more for " << *kept.back();
    }
    return head;
}

struct refusal
{
    const char* why;
    std::string bytes;
    code what;
    int status;
};

std::string with(std::string_view fields)
{
    return crlf("POST /v1/x HTTP/1.1\nHost: a\n") + std::string{fields} + "\r\n";
}

std::string length(std::string_view value)
{
    return with("Content-Length: " + std::string{value} + "\r\n");
}

std::string coding(std::string_view value)
{
    return with("Transfer-Encoding: " + std::string{value} + "\r\n");
}

std::string host(std::string_view value)
{
    return "GET / HTTP/1.1\r\nHost: " + std::string{value} + "\r\n\r\n";
}

std::vector<refusal> refusals()
{
    using namespace std::string_literals;
    constexpr code framing_code = code::bad_framing;
    return {
        {"both framings, length first",
         with("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n"),
         framing_code,
         400},
        {"both framings, coding first",
         with("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
         framing_code,
         400},

        {"coding: list", coding("gzip, chunked"), framing_code, 501},
        {"coding: list ending otherwise", coding("chunked, gzip"), framing_code, 501},
        {"coding: twice in one line", coding("chunked, chunked"), framing_code, 501},
        {"coding: prefix", coding("xchunked"), framing_code, 501},
        {"coding: empty element", coding(",chunked"), framing_code, 501},
        {"coding: identity", coding("identity"), framing_code, 501},
        {"coding: no-break space before",
         coding("\xa0"
                "chunked"),
         framing_code,
         501},
        {"coding: no-break space behind", coding("chunked\xa0"), framing_code, 501},
        {"coding: quoted", coding("\"chunked\""), framing_code, 501},
        {"coding: with a parameter", coding("chunked;q=1"), framing_code, 501},
        {"coding: empty", coding(""), framing_code, 501},
        {"coding: two lines",
         with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
         framing_code,
         501},
        {"coding: two lines, identity first",
         with("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
         framing_code,
         501},
        {"coding on HTTP/1.0",
         crlf("POST / HTTP/1.0\nHost: a\nTransfer-Encoding: chunked\n\n"),
         framing_code,
         400},
        {"bad coding on HTTP/1.0",
         crlf("POST / HTTP/1.0\nHost: a\nTransfer-Encoding: gzip\n\n"),
         framing_code,
         400},

        {"length: sign", length("+1"), framing_code, 400},
        {"length: negative", length("-1"), framing_code, 400},
        {"length: hexadecimal", length("0x10"), framing_code, 400},
        {"length: underscore", length("1_0"), framing_code, 400},
        {"length: space inside", length("1 2"), framing_code, 400},
        {"length: list", length("1,1"), framing_code, 400},
        {"length: list with space", length("1, 1"), framing_code, 400},
        {"length: empty", length(""), framing_code, 400},
        {"length: leading zero", length("010"), framing_code, 400},
        {"length: two zeros", length("00"), framing_code, 400},
        {"length: 20 digits, past 64 bits", length("18446744073709551618"), framing_code, 400},
        {"length: 19 digits", length("1000000000000000000"), framing_code, 400},
        {"length: full-width digit", length("\xef\xbc\x91"), framing_code, 400},
        {"length: equal twice", with("Content-Length: 2\r\nContent-Length: 2\r\n"), framing_code, 400},
        {"length: different twice", with("Content-Length: 2\r\nContent-Length: 3\r\n"), framing_code, 400},

        {"bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", framing_code, 400},
        {"bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n", framing_code, 400},
        {"bare LF as the blank line", "GET / HTTP/1.1\r\nHost: a\r\n\n", framing_code, 400},
        {"bare CR that hides a field",
         "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rAuthorization: Bearer K\r\n\r\n",
         framing_code,
         400},
        {"bare CR in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\r: 1\r\n\r\n", framing_code, 400},
        {"CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", framing_code, 400},
        {"bare CR as the blank line", "GET / HTTP/1.1\r\nHost: a\r\n\rX", framing_code, 400},
        {"NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\0002\r\n\r\n"s, framing_code, 400},
        {"NUL in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\0: 1\r\n\r\n"s, framing_code, 400},
        {"DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\x7f\r\n\r\n", framing_code, 400},
        {"escape character in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\x1b[0m\r\n\r\n", framing_code, 400
        },
        {"vertical tab behind a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\v\r\n\r\n", framing_code, 400},
        {"folded line", crlf("GET / HTTP/1.1\nHost: a\nX: 1\n folded\n\n"), framing_code, 400},
        {"folded with a tab", crlf("GET / HTTP/1.1\nHost: a\nX: 1\n\tfolded\n\n"), framing_code, 400},
        {"space before the colon", crlf("GET / HTTP/1.1\nHost : a\n\n"), framing_code, 400},
        {"tab before the colon", crlf("GET / HTTP/1.1\nHost\t: a\n\n"), framing_code, 400},
        {"empty name", crlf("GET / HTTP/1.1\nHost: a\n: 1\n\n"), framing_code, 400},
        {"leading space on the first field", crlf("GET / HTTP/1.1\n Host: a\n\n"), framing_code, 400},
        {"no colon", crlf("GET / HTTP/1.1\nHost: a\nnonsense\n\n"), framing_code, 400},
        {"name with a byte above ASCII", crlf("GET / HTTP/1.1\nHost: a\nX\xc3\xa9: 1\n\n"), framing_code, 400
        },
        {"name with a bracket", crlf("GET / HTTP/1.1\nHost: a\nX(y): 1\n\n"), framing_code, 400},

        {"LF before the request", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", framing_code, 400},
        {"three CR LF before the request", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", framing_code, 400
        },
        {"CR before the request", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", framing_code, 400},
        {"space before the request", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", framing_code, 400},

        {"no Host", crlf("GET /health HTTP/1.1\n\n"), framing_code, 400},
        {"two Hosts", crlf("GET / HTTP/1.1\nHost: a\nHost: b\n\n"), framing_code, 400},
        {"two equal Hosts", crlf("GET / HTTP/1.1\nHost: a\nhost: a\n\n"), framing_code, 400},
        {"Host with user info", host("a@b"), framing_code, 400},
        {"Host with a space", host("a b"), framing_code, 400},
        {"Host list", host("a,b"), framing_code, 400},
        {"empty Host", host(""), framing_code, 400},
        {"Host with a path", host("a/b"), framing_code, 400},
        {"Host with a port out of range", host("a:65536"), framing_code, 400},
        {"Host with an empty port", host("a:"), framing_code, 400},
        {"Host that is only a port", host(":80"), framing_code, 400},
        {"Host with a name behind the port", host("a:80:b"), framing_code, 400},
        {"Host with an open bracket", host("[::1"), framing_code, 400},
        {"Host with words behind the bracket", host("[::1]x"), framing_code, 400},
        {"Host with a zone", host("[fe80::1%eth0]"), framing_code, 400},

        {"HTTP/0.9", "GET /health\r\n\r\n", framing_code, 400},
        {"HTTP/0.9 without a target", "GET\r\n\r\n", framing_code, 400},
        {"no target", "GET  HTTP/1.1\r\n\r\n", framing_code, 400},
        {"two spaces before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", framing_code, 400},
        {"space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", framing_code, 400},
        {"tab between", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", framing_code, 400},
        {"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", framing_code, 400},
        {"lowercase protocol", "GET / http/1.1\r\nHost: a\r\n\r\n", framing_code, 400},
        {"a placeholder for the version", "GET / HTTP/1.?\r\nHost: a\r\n\r\n", framing_code, 400},
        {"another protocol", "GET / ICY/1.1\r\nHost: a\r\n\r\n", framing_code, 400},
        {"HTTP/1.2", crlf("GET / HTTP/1.2\nHost: a\n\n"), code::bad_version, 505},
        {"HTTP/2.0", crlf("GET / HTTP/2.0\nHost: a\n\n"), code::bad_version, 505},
        {"HTTP/0.9 spelled out", crlf("GET / HTTP/0.9\nHost: a\n\n"), code::bad_version, 505},
        {"HTTP/1.10", crlf("GET / HTTP/1.10\nHost: a\n\n"), framing_code, 400},
        {"HTTP/2 preface", crlf("PRI * HTTP/2.0\n\nSM\n\n"), code::bad_version, 505},
        {"TRACE", crlf("TRACE / HTTP/1.1\nHost: a\n\n"), code::method_not_allowed, 405},
        {"CONNECT", crlf("CONNECT a:80 HTTP/1.1\nHost: a\n\n"), code::method_not_allowed, 405},
        {"unknown method", crlf("FOO / HTTP/1.1\nHost: a\n\n"), code::unknown_method, 501},
        {"lowercase method", crlf("get / HTTP/1.1\nHost: a\n\n"), code::unknown_method, 501},
        {"endless method", std::string(100, 'A'), code::unknown_method, 501},
        {"TLS handshake", "\x16\x03\x01\x02", framing_code, 400},

        {"target byte above ASCII", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", framing_code, 400},
        {"control byte in the target", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", framing_code, 400},
        {"NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s, framing_code, 400},
        {"target of 8193 bytes",
         "GET /" + std::string(8192, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n",
         code::target_too_long,
         414},
        {"endless target", "GET /" + std::string(9000, 'a'), code::target_too_long, 414},

        {"Expect of another kind", with("Expect: foo\r\nContent-Length: 1\r\n"), code::expectation_failed, 417
        },
        {"compressed body",
         with("Content-Encoding: gzip\r\nContent-Length: 1\r\n"),
         code::unsupported_coding,
         415},
        {"compressed after identity",
         with("Content-Encoding: identity, gzip\r\nContent-Length: 1\r\n"),
         code::unsupported_coding,
         415},

        {"underscore twin of the length", with("Content_Length: 5\r\n"), framing_code, 400},
        {"underscore twin of the coding", with("transfer_encoding: chunked\r\n"), framing_code, 400},
        {"underscore twin of the key", with("X_Api_Key: K\r\n"), framing_code, 400},
        {"underscore twin with one dash left", with("X-Api_Key: K\r\n"), framing_code, 400},

        {"two Authorizations",
         with("Authorization: Bearer A\r\nauthorization: Bearer B\r\n"),
         framing_code,
         400},
        {"two keys", with("X-Api-Key: A\r\nX-Api-Key: A\r\n"), framing_code, 400},
        {"two content types",
         with("Content-Type: text/plain\r\nContent-Type: image/png\r\n"),
         framing_code,
         400},
        {"two origins", with("Origin: null\r\nOrigin: https://a\r\n"), framing_code, 400},
        {"two timeouts", with("X-Fourways-Timeout: 1s\r\nX-Fourways-Timeout: 2s\r\n"), framing_code, 400},
    };
}

TEST(request_head, refuses_what_two_readers_could_read_differently)
{
    for (const refusal& each : refusals()) {
        request_head head;
        const auto verdict = scan(each.bytes, head);
        ASSERT_FALSE(verdict) << each.why << ": accepted or waiting";
        EXPECT_EQ(verdict.error().what, each.what)
            << each.why << ": " << testing::PrintToString(verdict.error());
        EXPECT_EQ(verdict.error().http_status(), each.status) << each.why;
        EXPECT_EQ(verdict.error().from, origin::client) << each.why;
        EXPECT_TRUE(verdict.error().close) << each.why;
        EXPECT_FALSE(verdict.error().text.empty()) << each.why;
    }
}

TEST(request_head, never_repeats_a_value_in_the_text_of_a_refusal)
{
    for (const std::string_view fields :
         {"Authorization: Bearer gw_CANARY\r\nAuthorization: Bearer gw_CANARY\r\n",
          "X_Api_Key: gw_CANARY\r\n",
          "Authorization: Bearer gw_CANARY\x01\r\n",
          "Content-Length: gw_CANARY\r\n"}) {
        request_head head;
        const auto verdict = scan(with(fields), head);
        ASSERT_FALSE(verdict);
        EXPECT_THAT(verdict.error().text, Not(HasSubstr("CANARY")));
    }
}

TEST(request_head, says_the_same_however_the_bytes_are_split)
{
    request_head head;
    const auto again = [&head](std::string_view bytes) { return scan(bytes, head); };
    for (const refusal& each : refusals()) {
        expect_same_for_every_prefix(each.bytes, again);
    }
    expect_same_for_every_prefix(
        crlf("\n\nPOST /models/a/b?x=1 HTTP/1.1\nHost: [::1]:80\nUser-Agent:\t x y \t\nX-Empty:\nExpect: "
             "100-continue\n"
             "Content-Length: 12\nx_note: 1\n\n{\"inputs\":1}"),
        again
    );
}

TEST(request_head, reads_a_whole_request)
{
    const request_head head = accepted(crlf(
        "POST /models/org/name?top_k=3 HTTP/1.1\nhost: 127.0.0.1:8080\nAuthorization: Bearer K\nX-API-Key: "
        "L\n"
        "CONTENT-TYPE: \t image/png \t\nAccept: application/json\nUser-Agent: unknown/None; hf_hub/1.28.0\n"
        "Origin: https://app\nContent-Encoding: identity\nX-Request-Id: r1\nX-Fourways-Timeout: "
        "30s\ntraceparent: tp\n"
        "tracestate: ts\nbaggage: bg\nanthropic-version: av\nx-wait-for-model: 1\nContent-Length: 42\n\n"
    ));
    EXPECT_EQ(head.verb, method::post);
    EXPECT_EQ(head.verb_text, "POST");
    EXPECT_EQ(head.target, "/models/org/name?top_k=3");
    EXPECT_EQ(head.minor, 1);
    EXPECT_EQ(head.body, framing::sized);
    EXPECT_EQ(head.content_length, 42u);
    EXPECT_TRUE(head.keep_alive);
    EXPECT_FALSE(head.expect_continue);
    EXPECT_EQ(head.host, "127.0.0.1:8080");
    EXPECT_EQ(head.authorization, "Bearer K");
    EXPECT_EQ(head.x_api_key, "L");
    EXPECT_EQ(head.content_type, "image/png");
    EXPECT_EQ(head.accept, "application/json");
    EXPECT_EQ(head.user_agent, "unknown/None; hf_hub/1.28.0");
    EXPECT_EQ(head.origin, "https://app");
    EXPECT_EQ(head.content_encoding, "identity");
    EXPECT_EQ(head.request_id, "r1");
    EXPECT_EQ(head.timeout, "30s");
    EXPECT_EQ(head.traceparent, "tp");
    EXPECT_EQ(head.tracestate, "ts");
    EXPECT_EQ(head.baggage, "bg");
    EXPECT_EQ(head.anthropic_version, "av");
    EXPECT_EQ(head.wait_for_model, "1");
    EXPECT_EQ(head.fields.size(), 16u);
    EXPECT_EQ(find_field(head.fields, "Accept"), "application/json");
}

TEST(request_head, tells_absent_from_empty)
{
    const request_head head = accepted(crlf("GET / HTTP/1.1\nHost: a\nAccept:\n\n"));
    EXPECT_NE(head.accept.data(), nullptr);
    EXPECT_EQ(head.accept, "");
    EXPECT_EQ(head.authorization.data(), nullptr);
    EXPECT_EQ(head.body, framing::none);
}

TEST(request_head, forgets_the_request_before)
{
    request_head head;
    const std::string first =
        crlf("POST / HTTP/1.0\nHost: a\nAuthorization: Bearer K\nContent-Length: 3\n\n");
    ASSERT_TRUE(scan(first, head));
    const std::string second = crlf("GET / HTTP/1.1\nHost: b\n\n");
    const auto size = scan(second, head);
    ASSERT_TRUE(size);
    EXPECT_EQ(*size, second.size());
    EXPECT_EQ(head.authorization.data(), nullptr);
    EXPECT_EQ(head.body, framing::none);
    EXPECT_EQ(head.content_length, 0u);
    EXPECT_EQ(head.fields.size(), 1u);
    EXPECT_EQ(head.minor, 1);
}

TEST(request_head, stops_behind_the_blank_line)
{
    const std::string head_bytes = crlf("POST / HTTP/1.1\nHost: a\nTransfer-Encoding: Chunked\n\n");
    request_head head;
    const auto size = scan(head_bytes + "2\r\n{}\r\n0\r\n\r\n", head);
    ASSERT_TRUE(size);
    EXPECT_EQ(*size, head_bytes.size());
    EXPECT_EQ(head.body, framing::chunked);
}

TEST(request_head, skips_up_to_two_empty_lines_before_it)
{
    for (const std::string_view lead : {"", "\r\n", "\r\n\r\n"}) {
        const std::string bytes = std::string{lead} + "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
        request_head head;
        const auto size = scan(bytes, head);
        ASSERT_TRUE(size) << testing::PrintToString(size.error());
        EXPECT_EQ(*size, bytes.size());
        EXPECT_EQ(head.target, "/health");
    }
}

TEST(request_head, keeps_the_connection_by_version_and_field)
{
    EXPECT_TRUE(accepted(crlf("GET / HTTP/1.1\nHost: a\n\n")).keep_alive);
    EXPECT_FALSE(accepted(crlf("GET / HTTP/1.1\nHost: a\nConnection: close\n\n")).keep_alive);
    EXPECT_FALSE(accepted(crlf("GET / HTTP/1.1\nHost: a\nConnection: x-a ,\tClose\n\n")).keep_alive);
    EXPECT_FALSE(
        accepted(crlf("GET / HTTP/1.1\nHost: a\nConnection: keep-alive\nConnection: close\n\n")).keep_alive
    );
    EXPECT_TRUE(accepted(crlf("GET / HTTP/1.1\nHost: a\nConnection: closed\n\n")).keep_alive);
    EXPECT_FALSE(accepted(crlf("GET / HTTP/1.0\nHost: a\n\n")).keep_alive);
    EXPECT_TRUE(accepted(crlf("GET / HTTP/1.0\nHost: a\nConnection: Keep-Alive\n\n")).keep_alive);
    EXPECT_FALSE(accepted(crlf("GET / HTTP/1.0\nHost: a\nConnection: keep-alive, close\n\n")).keep_alive);
}

TEST(request_head, lets_old_clients_leave_host_out)
{
    EXPECT_EQ(accepted(crlf("GET / HTTP/1.0\n\n")).host.data(), nullptr);
}

TEST(request_head, expects_continue_on_http_1_1_only)
{
    EXPECT_TRUE(accepted(crlf("POST / HTTP/1.1\nHost: a\nExpect: 100-Continue\nContent-Length: 1\n\n"))
                    .expect_continue);
    EXPECT_FALSE(accepted(crlf("POST / HTTP/1.0\nHost: a\nExpect: 100-continue\nContent-Length: 1\n\n"))
                     .expect_continue);
}

TEST(request_head, drops_other_names_with_underscores)
{
    const request_head head = accepted(crlf("GET / HTTP/1.1\nHost: a\nx_note: 1\nX-Note: 2\n\n"));
    ASSERT_EQ(head.fields.size(), 2u);
    EXPECT_EQ(head.fields[1].name, "X-Note");
}

TEST(request_head, accepts_hosts_of_every_kind)
{
    for (const std::string_view each :
         {"a",
          "gw.example.com:8080",
          "127.0.0.1",
          "127.0.0.1:0",
          "[::1]",
          "[::ffff:127.0.0.1]:65535",
          "under_score.local"}) {
        EXPECT_EQ(accepted(host(each)).host, each);
    }
}

TEST(request_head, knows_its_methods)
{
    constexpr std::array all = {
        method::get, method::head, method::post, method::put, method::delete_, method::options, method::patch
    };
    for (const method each : all) {
        const std::string bytes = std::string{to_string(each)} + " / HTTP/1.1\r\nHost: a\r\n\r\n";
        EXPECT_EQ(accepted(bytes).verb, each) << bytes;
        EXPECT_THAT(std::string{allowed_methods}, HasSubstr(std::string{to_string(each)}));
    }
}

TEST(request_head, forgets_what_connection_names)
{
    const request_head head =
        accepted(crlf("POST /a HTTP/1.1\nHost: a\ntraceparent: tp\nConnection: X-A, TraceParent;q=1, host\n"
                      "Authorization: Bearer k\nbaggage: b\ntracestate: ts\nx-request-id: id\n"
                      "Connection: keep-alive\nConnection: x-request-id ,authorization, content-length\n"
                      "Content-Length: 0\n\n"));
    EXPECT_TRUE(head.traceparent.empty());
    EXPECT_TRUE(head.request_id.empty());
    EXPECT_EQ(head.baggage, "b");
    EXPECT_EQ(head.tracestate, "ts");
    EXPECT_EQ(head.host, "a");
    EXPECT_EQ(head.authorization, "Bearer k");
    EXPECT_EQ(head.body, framing::sized);
    EXPECT_TRUE(head.keep_alive);
}

TEST(request_head, accepts_every_field_byte_that_may_stand_in_a_value)
{
    std::string value;
    for (int c = 0x21; c <= 0xff; ++c) {
        if (c != 0x7f) {
            value.push_back(static_cast<char>(c));
        }
    }
    value += " \t x";
    const request_head head = accepted("GET / HTTP/1.1\r\nHost: a\r\nX: " + value + "\r\n\r\n");
    EXPECT_EQ(find_field(head.fields, "x"), value);
}

TEST(request_head, counts_fields_before_the_head_is_complete)
{
    const auto with_fields = [](std::size_t count) {
        std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\n";
        for (std::size_t i = 1; i < count; ++i) {
            bytes += "X: 1\r\n";
        }
        return bytes;
    };
    request_head head;
    EXPECT_TRUE(scan(with_fields(100) + "\r\n", head));
    const auto waiting = scan(with_fields(100), head);
    ASSERT_TRUE(waiting);
    EXPECT_FALSE(*waiting);
    const auto verdict = scan(with_fields(100) + "Y", head);
    ASSERT_FALSE(verdict);
    EXPECT_EQ(verdict.error().what, code::header_too_large);
    EXPECT_EQ(verdict.error().http_status(), 431);
}

TEST(request_head, counts_dropped_fields_too)
{
    std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\n";
    for (int i = 0; i < 100; ++i) {
        bytes += "x_y: 1\r\n";
    }
    request_head head;
    const auto verdict = scan(bytes + "\r\n", head);
    ASSERT_FALSE(verdict);
    EXPECT_EQ(verdict.error().what, code::header_too_large);
}

TEST(request_head, limits_its_bytes_exactly)
{
    const std::string frame = crlf("GET / HTTP/1.1\nHost: a\nX: ");
    const std::string fits = frame + std::string(limits.max_bytes - frame.size() - 4, 'x') + "\r\n\r\n";
    request_head head;
    ASSERT_EQ(fits.size(), limits.max_bytes);
    EXPECT_TRUE(scan(fits, head));
    EXPECT_TRUE(scan(fits + "GET / HTTP/1.1\r\n", head)) << "bytes behind the head do not count";

    const std::string too_large = frame + std::string(limits.max_bytes - frame.size() - 3, 'x') + "\r\n\r\n";
    for (const std::string& each : {too_large, too_large.substr(0, limits.max_bytes)}) {
        const auto verdict = scan(each, head);
        ASSERT_FALSE(verdict);
        EXPECT_EQ(verdict.error().what, code::header_too_large);
    }
    const auto waiting = scan(too_large.substr(0, limits.max_bytes - 1), head);
    ASSERT_TRUE(waiting);
    EXPECT_FALSE(*waiting);
}

TEST(request_head, accepts_a_target_of_exactly_8_kib)
{
    EXPECT_EQ(
        accepted("GET /" + std::string(8191, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n").target.size(), 8192u
    );
}

} // namespace
} // namespace gw::wire
