#include "wire/field.hpp"

#include "wire/bytes.hpp"

#include <gtest/gtest.h>

#include <string>

namespace gw::wire {
namespace {

TEST(field, compares_names_without_case)
{
    EXPECT_TRUE(same_name("Content-Type", "content-TYPE"));
    EXPECT_FALSE(same_name("Content-Type", "content-typ"));
    EXPECT_FALSE(same_name("a[", "a{")) << "only letters have case";
    EXPECT_FALSE(same_name("\xe4", "\xc4"));
}

TEST(field, finds_tokens_in_lists)
{
    EXPECT_TRUE(list_holds("close", "close"));
    EXPECT_TRUE(list_holds(" x ,\tCLOSE ,y", "close"));
    EXPECT_TRUE(list_holds("gzip;q=0.5, identity;q=1", "identity"));
    EXPECT_FALSE(list_holds("", "close"));
    EXPECT_FALSE(list_holds("closed, not close", "close"));
}

TEST(field, judges_names_and_values)
{
    EXPECT_TRUE(valid_name("x-Foo_1!"));
    for (const std::string_view bad : {"", "a b", "a:", "a\r", "\xc3\xa9", "a\"b"}) {
        EXPECT_FALSE(valid_name(bad)) << bad;
    }
    EXPECT_TRUE(valid_value(""));
    EXPECT_TRUE(valid_value("a b\tc \xc3\xa9"));
    for (const std::string_view bad :
         {std::string_view{"a\r\nEvil: 1"},
          std::string_view{"a\0b", 3},
          std::string_view{"a\x7f"},
          std::string_view{" a"},
          std::string_view{"a\t"},
          std::string_view{"a\n"}}) {
        EXPECT_FALSE(valid_value(bad)) << bad;
    }
}

// The wide searches must find exactly what the plain definition finds, at every position and for every byte.
template <class Find, class Stops>
void expect_finds(Find find, Stops stops)
{
    for (std::size_t size = 0; size < 40; ++size) {
        for (int byte = 0; byte < 256; ++byte) {
            for (std::size_t at = 0; at < size; ++at) {
                std::string text(size, 'x');
                text[at] = static_cast<char>(byte);
                const std::size_t wanted = stops(static_cast<unsigned char>(byte)) ? at : size;
                const char* const found = find(text.data(), text.data() + size);
                ASSERT_EQ(static_cast<std::size_t>(found - text.data()), wanted)
                    << "byte " << byte << " at " << at << " of " << size;
            }
        }
    }
}

TEST(bytes, searches_find_what_they_say)
{
    expect_finds(bytes::find_control, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
    expect_finds(bytes::find_string_stop, [](unsigned char c) {
        return c < 0x20 || c >= 0x80 || c == '"' || c == '\\';
    });
    expect_finds(bytes::find_line_end, [](unsigned char c) { return c == '\r' || c == '\n'; });
}

TEST(bytes, searches_find_the_first_of_two)
{
    for (std::size_t first = 0; first < 20; ++first) {
        for (std::size_t second = first + 1; second < 24; ++second) {
            std::string text(24, '\xff'); // bytes above ASCII must not disturb the searches for control bytes
            text[first] = '\n';
            text[second] = '\r';
            EXPECT_EQ(
                bytes::find_control(text.data(), text.data() + text.size()) - text.data(),
                static_cast<std::ptrdiff_t>(first)
            );
            EXPECT_EQ(
                bytes::find_line_end(text.data(), text.data() + text.size()) - text.data(),
                static_cast<std::ptrdiff_t>(first)
            );
        }
    }
}

} // namespace
} // namespace gw::wire
