#include "workers/lines.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace gw::workers {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> lines_of(std::string_view text, std::size_t piece, const std::string& secret = "")
{
    line_splitter splitter(secret);
    std::vector<std::string> all;
    const auto take = [&](std::vector<std::string> more) { all.insert(all.end(), more.begin(), more.end()); };
    for (std::size_t at = 0; at < text.size(); at += piece) {
        take(splitter.feed(text.substr(at, piece)));
    }
    take(splitter.finish());
    return all;
}

TEST(lines, any_split_gives_the_same)
{
    const std::string text =
        "one\ntwo\r\n\n  \n10%\r20%\r\x1B[1;32mgreen\x1B[0m\n\xC3\xA4\xE2\x82\xAC\nlast hf_key";
    for (std::size_t piece = 1; piece <= text.size(); ++piece) {
        EXPECT_THAT(
            lines_of(text, piece, "hf_key"),
            ElementsAre("one", "two", "10%", "20%", "green", "\xC3\xA4\xE2\x82\xAC", "last ***")
        ) << piece;
    }
}

TEST(lines, what_is_not_text_is_cleaned)
{
    EXPECT_EQ(clean_line("a\xFFz"), "a\xEF\xBF\xBDz");
    EXPECT_EQ(clean_line("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD") << "overlong";
    EXPECT_EQ(clean_line("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD") << "surrogate";
    EXPECT_EQ(clean_line("\xF4\x90\x80\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD")
        << "above U+10FFFF";
    EXPECT_EQ(clean_line("cut \xE2\x82"), "cut \xEF\xBF\xBD\xEF\xBF\xBD");
    EXPECT_EQ(clean_line("\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80");
    EXPECT_EQ(clean_line(std::string_view("a\0b\tc\x7F", 6)), "a b c ");
    EXPECT_EQ(clean_line("\xC2\x85next"), " next") << "C1 control";
    EXPECT_EQ(clean_line("\x1B[2K\x1B[?25lx\x1B[38;5;1my\x1B"), "xy ");
    EXPECT_EQ(clean_line("\x1B["), "");
}

TEST(lines, a_long_line_is_cut_and_the_next_is_whole)
{
    const std::string text = std::string(longest_line, 'x') + "\n" + std::string(1'000'000, 'y') + "\nnext\n";
    for (const std::size_t piece : {std::size_t{1000}, text.size()}) {
        EXPECT_THAT(
            lines_of(text, piece),
            ElementsAre(std::string(longest_line, 'x'), std::string(longest_line, 'y') + " [cut]", "next")
        );
    }
}

TEST(lines, a_cut_splits_no_character)
{
    const std::string euro = "\xE2\x82\xAC";
    std::string text;
    while (text.size() < 2 * longest_line) {
        text += euro;
    }
    for (const std::string& before : {"", "a", "ab"}) {
        const std::vector<std::string> got = lines_of(before + text, 512, "a secret of some length");
        ASSERT_EQ(got.size(), 1U);
        EXPECT_EQ(got[0].find("\xEF\xBF\xBD"), std::string::npos);
        EXPECT_THAT(got[0], testing::EndsWith(euro + " [cut]"));
    }
}

TEST(lines, no_part_of_a_secret_is_left_where_a_line_is_cut)
{
    const std::string secret = "hf_0123456789abcdef";
    std::string repeated;
    while (repeated.size() < 3 * longest_line) {
        repeated += secret;
    }
    for (std::size_t shift = 0; shift <= secret.size(); ++shift) {
        for (const std::string& text :
             {std::string(longest_line - shift, '.') + secret + "tail", std::string(shift, '.') + repeated}) {
            const std::vector<std::string> got = lines_of(text, 333, secret);
            ASSERT_EQ(got.size(), 1U);
            EXPECT_EQ(got[0].find("hf_0"), std::string::npos) << shift;
            EXPECT_EQ(got[0].find("hf_01"), std::string::npos) << shift;
        }
    }
}

TEST(lines, so_many_a_second_are_logged)
{
    using namespace std::chrono_literals;
    line_gate gate;
    line_gate::time_point now{1h};
    for (std::size_t line = 0; line < line_gate::lines_a_second; ++line) {
        EXPECT_TRUE(gate.admit(now));
    }
    now += 999ms;
    EXPECT_FALSE(gate.admit(now));
    EXPECT_FALSE(gate.admit(now));
    EXPECT_EQ(gate.take_refused(now), 0U) << "not while there may be more";
    now += 1ms;
    EXPECT_EQ(gate.take_refused(now), 2U);
    EXPECT_TRUE(gate.admit(now));
    EXPECT_EQ(gate.take_refused(), 0U);
}

TEST(lines, nothing_gives_nothing)
{
    EXPECT_THAT(lines_of("", 1), IsEmpty());
    EXPECT_THAT(lines_of("\n\r\n \n", 1), IsEmpty());
}

} // namespace
} // namespace gw::workers
