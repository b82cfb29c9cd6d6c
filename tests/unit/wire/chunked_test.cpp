#include "wire/chunked.hpp"

#include "splits.hpp"

#include <optional>
#include <string>
#include <vector>

namespace gw::wire {
namespace {

using namespace std::string_literals;

// What became of a body: its payload, how many bytes were used, and the failure if there was one.
struct decoded
{
    std::string payload;
    std::size_t consumed = 0;
    bool done = false;
    std::optional<failure> why;
};

// Feeds the bytes in pieces of at most `piece` bytes, each in its own exact buffer.
decoded decode(std::string_view bytes, std::size_t piece, origin from = origin::client)
{
    decoded out;
    chunk_decoder decoder{from};
    while (out.consumed < bytes.size() && !decoder.done()) {
        const exact block{bytes.substr(out.consumed, piece)};
        std::string_view rest = block.view();
        while (!rest.empty() && !decoder.done()) {
            const result<chunk_decoder::step> step = decoder.feed(rest);
            if (!step) {
                out.why = step.error();
                EXPECT_FALSE(decoder.feed("0\r\n\r\n")) << "a failure stays one";
                EXPECT_FALSE(decoder.feed("")) << "a failure stays one";
                return out;
            }
            EXPECT_GT(step->consumed, 0u) << "no progress";
            out.payload += step->payload;
            out.consumed += step->consumed;
            rest.remove_prefix(step->consumed);
        }
    }
    out.done = decoder.done();
    return out;
}

TEST(chunked, takes_the_coding_off)
{
    const std::string bytes = crlf("5\nhello\n1;name=value; x=\"y\"\n \n5\nworld\n0\nX-T: 1\nY:\n\n");
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
        const decoded out = decode(bytes + "GET / HTTP/1.1\r\n", piece);
        ASSERT_FALSE(out.why) << testing::PrintToString(*out.why);
        EXPECT_EQ(out.payload, "hello world");
        EXPECT_TRUE(out.done);
        EXPECT_EQ(out.consumed, bytes.size()) << "bytes behind the end belong to the next message";
    }
}

TEST(chunked, gives_views_and_no_copies)
{
    chunk_decoder decoder{origin::client};
    const std::string bytes = crlf("A\n0123456789\n");
    const auto step = decoder.feed(bytes);
    ASSERT_TRUE(step);
    EXPECT_EQ(step->payload, "0123456789");
    EXPECT_EQ(step->payload.data(), bytes.data() + 3);
    EXPECT_EQ(step->consumed, 13u);
}

TEST(chunked, consumes_nothing_behind_the_end)
{
    chunk_decoder decoder{origin::client};
    ASSERT_TRUE(decoder.feed("0\r\n\r\n"));
    ASSERT_TRUE(decoder.done());
    const auto step = decoder.feed("anything");
    ASSERT_TRUE(step);
    EXPECT_EQ(step->consumed, 0u);
    EXPECT_TRUE(step->payload.empty());
}

TEST(chunked, is_not_done_before_the_last_byte)
{
    const std::string bytes = crlf("5\nhello\n0\nX: 1\n\n");
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const decoded out = decode(std::string_view{bytes}.substr(0, size), bytes.size());
        EXPECT_FALSE(out.why);
        EXPECT_FALSE(out.done) << "after " << size << " bytes";
    }
}

TEST(chunked, accepts_large_sizes_and_both_cases)
{
    EXPECT_EQ(decode("00000000000000a\r\n0123456789\r\n0\r\n\r\n", 100).payload, "0123456789");
    EXPECT_EQ(decode("A\r\n0123456789\r\n000\r\n\r\n", 100).payload, "0123456789");
    EXPECT_FALSE(decode("fffffffffffffff\r\nx", 100).why);
}

TEST(chunked, refuses_loose_syntax)
{
    const std::vector<std::pair<const char*, std::string>> cases = {
        {"bare LF behind the size", "1\nZ\n0\n\n"},
        {"bare LF behind the size, CR LF elsewhere", "2\n{}\r\n0\r\n\r\n"},
        {"0x", "0x1\r\nZ\r\n0\r\n\r\n"},
        {"leading space", " 1\r\nZ\r\n0\r\n\r\n"},
        {"space behind the size", "1 \r\nZ\r\n0\r\n\r\n"},
        {"space before an extension", "1 ;a\r\nZ\r\n0\r\n\r\n"},
        {"17 digits", "fffffffffffffffff\r\n"},
        {"16 digits", "0000000000000001\r\n"},
        {"sign", "+1\r\nZ\r\n0\r\n\r\n"},
        {"minus", "-1\r\nZ\r\n0\r\n\r\n"},
        {"no size", "\r\n\r\n"},
        {"only an extension", ";a\r\n"},
        {"not hexadecimal", "g\r\n"},
        {"underscore", "1_0\r\n"},
        {"more bytes than the size", "1\r\nZZ\r\n0\r\n\r\n"},
        {"fewer bytes than the size", "3\r\nZ\r\n0\r\n\r\n"},
        {"LF behind the data", "1\r\nZ\n0\r\n\r\n"},
        {"CR behind the data without LF", "1\r\nZ\r0\r\n\r\n"},
        {"CR CR LF behind the size", "1\r\r\nZ\r\n0\r\n\r\n"},
        {"LF in an extension", "1;a\nZ\r\n0\r\n\r\n"},
        {"CR in an extension", "1;a\rb\r\nZ\r\n0\r\n\r\n"},
        {"NUL in an extension", "1;a\0b\r\nZ\r\n0\r\n\r\n"s},
        {"byte above ASCII in an extension", "1;\xc3\xa9\r\nZ\r\n0\r\n\r\n"},
        {"20 KiB of extension", "1;" + std::string(20 * 1024, 'a') + "\r\nZ\r\n0\r\n\r\n"},
        {"LF as the end", "0\r\n\n"},
        {"bare LF behind the last size", "0\n\r\n"},
        {"CR and something else as the end", "0\r\n\rX"},
        {"trailer: length", "0\r\nContent-Length: 5\r\n\r\n"},
        {"trailer: coding", "0\r\ntransfer-encoding: chunked\r\n\r\n"},
        {"trailer: host", "0\r\nX: 1\r\nHOST: a\r\n\r\n"},
        {"trailer: space before the colon", "0\r\nX : 1\r\n\r\n"},
        {"trailer: empty name", "0\r\n: 1\r\n\r\n"},
        {"trailer: no colon", "0\r\nX\r\n\r\n"},
        {"trailer: folded", "0\r\nX: 1\r\n y\r\n\r\n"},
        {"trailer: bare LF", "0\r\nX: 1\n\r\n"},
        {"trailer: bare CR", "0\r\nX: 1\rY: 2\r\n\r\n"},
        {"trailer: NUL", "0\r\nX: \0\r\n\r\n"s},
        {"trailer: endless", "0\r\nX: " + std::string(9 * 1024, 'a')},
        {"trailer: endless name", "0\r\n" + std::string(9 * 1024, 'a')},
        {"a request in place of a size", "GET / HTTP/1.1\r\n\r\n"},
    };
    for (const auto& [why, bytes] : cases) {
        const decoded whole = decode(bytes, bytes.size());
        ASSERT_TRUE(whole.why) << why << ": accepted";
        EXPECT_EQ(whole.why->what, code::bad_chunk) << why;
        EXPECT_EQ(whole.why->http_status(), 400) << why;
        EXPECT_EQ(whole.why->from, origin::client) << why;
        EXPECT_TRUE(whole.why->close) << why;
        for (const std::size_t piece : {1u, 2u, 3u, 5u, 7u, 4096u}) {
            const decoded split = decode(bytes, piece);
            ASSERT_TRUE(split.why) << why << " in pieces of " << piece;
            EXPECT_EQ(split.why->text, whole.why->text) << why << " in pieces of " << piece;
            EXPECT_EQ(split.payload, whole.payload) << why << " in pieces of " << piece;
        }
    }
}

TEST(chunked, limits_extensions_of_all_chunks_together)
{
    std::string bytes;
    for (int i = 0; i < 300; ++i) {
        bytes += "1;" + std::string(60, 'a') + "\r\nZ\r\n";
    }
    EXPECT_TRUE(decode(bytes, bytes.size()).why);
}

TEST(chunked, accepts_trailers_that_resemble_the_forbidden_ones)
{
    EXPECT_TRUE(decode(
                    "0\r\nHosts: 1\r\nContent-Length-Of-X: 1\r\nTransfer-Encoding-and-more: "
                    "1\r\nAuthorization: K\r\n\r\n",
                    4096
    )
                    .done);
}

TEST(chunked, blames_the_upstream_for_its_own_body)
{
    const decoded out = decode("zz\r\n", 100, origin::upstream);
    ASSERT_TRUE(out.why);
    EXPECT_EQ(out.why->what, code::unavailable);
    EXPECT_EQ(out.why->from, origin::upstream);
    EXPECT_EQ(out.why->http_status(), 502);
}

} // namespace
} // namespace gw::wire
