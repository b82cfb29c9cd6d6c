#include "payload/transcode.hpp"

#include "sha256.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace gw::payloads {
namespace {

using testing::openssl_base64;
using testing::random_bytes;
using testing::sha256;

result<std::string> run(const piece& plan, std::string_view in, std::size_t split)
{
    transcoder machine(plan);
    std::string out;
    while (!in.empty()) {
        const auto part = in.substr(0, split);
        in.remove_prefix(part.size());
        auto fed = machine.feed(part, out);
        if (!fed) {
            return fail(fed);
        }
    }
    auto ended = machine.finish(out);
    if (!ended) {
        return fail(ended);
    }
    return out;
}

// The base64 text with `/`, `+` and `=` escaped as PHP and others do; every `every`-th other character as
// \uXXXX.
std::string escape(std::string_view text, std::size_t every)
{
    std::string made;
    std::size_t count = 0;
    for (const char each : text) {
        char buffer[8];
        if (each == '/') {
            made += "\\/";
        } else if (each == '=' || each == '+' || ++count % every == 0) {
            std::snprintf(
                buffer, sizeof buffer, "\\u%04X", static_cast<unsigned>(static_cast<unsigned char>(each))
            );
            made += buffer;
        } else {
            made += each;
        }
    }
    return made;
}

TEST(transcode, every_kind_at_every_small_length_and_split)
{
    for (std::size_t length = 0; length <= 300; ++length) {
        const std::string bytes = random_bytes(length, static_cast<unsigned>(length) + 1);
        const std::string text = openssl_base64(bytes);
        const std::string escaped = escape(text, 5);
        const auto copy = piece::copy({10, 10 + length});
        const auto encode = piece::encode({10, 10 + length});
        const auto decode = piece::decode({3, 3 + text.size()}, false, length);
        const auto decode_escaped = piece::decode({3, 3 + escaped.size()}, true, length);
        for (std::size_t split = 1; split <= 9; ++split) {
            ASSERT_EQ(run(copy, bytes, split).value_or("failed"), bytes);
            ASSERT_EQ(run(encode, bytes, split).value_or("failed"), text);
            ASSERT_EQ(run(decode, text, split).value_or("failed"), bytes);
            ASSERT_EQ(run(decode_escaped, escaped, split).value_or("failed"), bytes)
                << length << " " << split;
        }
        ASSERT_EQ(encode.length, text.size());
    }
}

TEST(transcode, around_buffer_edges)
{
    for (const std::size_t edge : {std::size_t{64 * 1024}, std::size_t{256 * 1024}}) {
        for (std::size_t length = edge - 3; length <= edge + 3; ++length) {
            const std::string bytes = random_bytes(length, 11);
            const std::string text = openssl_base64(bytes);
            const std::string escaped = escape(text, 1000);
            for (const std::size_t split :
                 {std::size_t{4096}, std::size_t{65535}, std::size_t{65536}, std::size_t{1} << 20U}) {
                ASSERT_EQ(sha256(run(piece::encode({0, length}), bytes, split).value_or("")), sha256(text));
                ASSERT_EQ(
                    sha256(run(piece::decode({0, text.size()}, false, length), text, split).value_or("")),
                    sha256(bytes)
                );
                ASSERT_EQ(
                    sha256(run(piece::decode({0, escaped.size()}, true, length), escaped, split).value_or("")
                    ),
                    sha256(bytes)
                );
            }
        }
    }
}

TEST(transcode, literal_comes_at_the_end)
{
    EXPECT_EQ(run(piece::literal("{\"inputs\":\""), "", 1).value_or("failed"), "{\"inputs\":\"");
}

TEST(transcode, output_is_appended)
{
    const auto plan = piece::encode({0, 3});
    transcoder machine(plan);
    std::string out = "before ";
    ASSERT_TRUE(machine.feed("foo", out));
    ASSERT_TRUE(machine.finish(out));
    EXPECT_EQ(out, "before Zm9v");
}

TEST(transcode, a_short_source_is_an_error)
{
    for (const auto& plan :
         {piece::copy({0, 8}),
          piece::encode({0, 8}),
          piece::decode({0, 8}, false, 6),
          piece::decode({0, 8}, true, 6)}) {
        const auto out = run(plan, "Zm9v", 4);
        ASSERT_FALSE(out);
        EXPECT_EQ(out.error().what, code::internal);
        EXPECT_THAT(out.error().detail, ::testing::HasSubstr("fewer bytes"));
    }
}

TEST(transcode, a_long_source_is_an_error)
{
    for (const auto& plan :
         {piece::copy({0, 8}), piece::encode({0, 8}), piece::decode({0, 8}, false, 6), piece::literal("x")}) {
        for (const std::size_t split : {1U, 4U, 100U}) {
            const auto out = run(plan, "Zm9vZm9vZm9v", split);
            ASSERT_FALSE(out);
            EXPECT_EQ(out.error().what, code::internal);
            EXPECT_EQ(out.error().from, origin::gateway);
        }
    }
}

TEST(transcode, a_wrong_length_is_never_put_out)
{
    // What the plan promised is one byte less, or more, than what the text decodes to.
    for (const std::uint64_t promised : {5U, 7U}) {
        const auto plan = piece::decode({0, 8}, false, promised);
        transcoder machine(plan);
        std::string out;
        const auto fed = machine.feed("Zm9vYmFy", out);
        const auto ended = fed ? machine.finish(out) : fed;
        ASSERT_FALSE(ended);
        EXPECT_EQ(ended.error().what, code::internal);
        EXPECT_LE(out.size(), promised);
    }
}

TEST(transcode, bad_base64_is_the_clients_fault)
{
    const std::pair<std::string_view, std::string_view> rows[] = {
        {R"(Zm9v\nZm9v)", "line break"},
        {R"(Zm9v\r\nZm9v)", "line break"},
        {R"(Zm9v\u00e9Zm9)", "byte 4 is not of the base64 alphabet"},
        {R"(Zm9v\u20acZm9)", "byte 4 is not of the base64 alphabet"},
        {R"(Zm9v\"Zm9)", "byte 4 is not of the base64 alphabet"},
        {R"(Zm9v\\Zm9)", "byte 4 is not of the base64 alphabet"},
        {R"(Zm9v\u00g)", "four hex digits"},
        {R"(Zm-vZm9v)", "URL-safe"},
        {R"(Zm9vZm9)", "no multiple of four"},
        {R"(Zg==Zm9v)", "behind the padding"},
    };
    for (const auto& [text, words] : rows) {
        for (std::size_t split = 1; split <= text.size(); ++split) {
            const auto out = run(piece::decode({0, text.size()}, true, 1000), text, split);
            ASSERT_FALSE(out) << text;
            EXPECT_EQ(out.error().what, code::invalid_base64) << text;
            EXPECT_EQ(out.error().from, origin::client);
            EXPECT_THAT(out.error().text, ::testing::HasSubstr(std::string(words))) << text;
        }
    }
}

TEST(transcode, a_range_that_ends_inside_an_escape)
{
    for (const std::string_view text : {"Zm9v\\", "Zm9v\\u", "Zm9v\\u00"}) {
        EXPECT_FALSE(run(piece::decode({0, text.size()}, true, 3), text, 100));
    }
}

} // namespace
} // namespace gw::payloads
