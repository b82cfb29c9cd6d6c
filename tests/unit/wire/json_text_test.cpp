#include "wire/json_text.hpp"

#include "splits.hpp"

#include <simdjson.h>

#include <string>

namespace gw::wire {
namespace {

using namespace std::string_literals;

std::string json_of(std::string_view text)
{
    std::string out;
    append_json_string(out, text);
    return out;
}

TEST(json_text, unescapes)
{
    EXPECT_EQ(unescape_json_string(""), "");
    EXPECT_EQ(
        unescape_json_string("plain text of more than sixteen bytes"), "plain text of more than sixteen bytes"
    );
    EXPECT_EQ(unescape_json_string(R"(\"\\\/\b\f\n\r\t)"), "\"\\/\b\f\n\r\t");
    EXPECT_EQ(unescape_json_string(R"(\u0041\u00e9\u20AC\u0000)"), "A\u00e9\u20ac\0"s);
    EXPECT_EQ(unescape_json_string(R"(\ud83d\ude00!)"), "\U0001f600!");
    EXPECT_EQ(unescape_json_string("\x7f\u00e9\u20ac\U0001f600"), "\x7f\u00e9\u20ac\U0001f600");
}

TEST(json_text, replaces_lone_surrogates)
{
    EXPECT_EQ(unescape_json_string(R"(\ud83d)"), "\ufffd");
    EXPECT_EQ(unescape_json_string(R"(\ude00x)"), "\ufffdx");
    EXPECT_EQ(unescape_json_string(R"(\ud83d\ud83d\ude00)"), "\ufffd\U0001f600");
    EXPECT_EQ(
        unescape_json_string(R"(\ud83d\u0041)"),
        "\ufffd"
        "A"
    );
    EXPECT_EQ(unescape_json_string(R"(\ud83d\n)"), "\ufffd\n");
}

TEST(json_text, refuses_what_is_no_string)
{
    for (const std::string_view bad :
         {"\"",
          "\\",
          "\\x",
          "\\u",
          "\\u12",
          "\\u12g4",
          "\\u123",
          "a\nb",
          "\x1f",
          "\x80",
          "\xc0\x80",
          "\xed\xa0\x80",
          "\xf4\x90\x80\x80",
          "\xe2\x82",
          "\\ud83d\\u12"}) {
        const exact bytes{bad};
        EXPECT_FALSE(unescape_json_string(bytes.view())) << testing::PrintToString(std::string{bad});
    }
    EXPECT_FALSE(unescape_json_string("a\0b"s));
}

TEST(json_text, escapes_what_disturbs)
{
    EXPECT_EQ(json_of("a\"b\\c/"), R"("a\"b\\c/")");
    EXPECT_EQ(json_of("\n\r\t\b\f\x01\x1f\x7f"), R"("\n\r\t\b\f\u0001\u001f\u007f")");
    EXPECT_EQ(json_of("\0"s), R"("\u0000")");
    EXPECT_EQ(
        json_of("\u0085\u2028\u2029\u0080\u009f\u00a0"), "\"\\u0085\\u2028\\u2029\\u0080\\u009f\u00a0\""
    );
    EXPECT_EQ(
        json_of("\u00e9\u20ac\U0001f600 more than sixteen bytes\x7f!"),
        "\"\u00e9\u20ac\U0001f600 more than sixteen bytes\\u007f!\""
    );
    EXPECT_EQ(
        json_of("a\xff"
                "b\xe2\x82"),
        R"("a\ufffdb\ufffd\ufffd")"
    );
}

// Every character and every byte: what is escaped is one line of valid JSON and reads back as it was.
TEST(json_text, reads_back_what_it_wrote)
{
    simdjson::dom::parser parser;
    const auto check = [&parser](const std::string& text, bool is_utf8) {
        const std::string json = json_of(text);
        for (const char c : json) {
            ASSERT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
        }
        std::string_view by_simdjson;
        ASSERT_FALSE(parser.parse(json).get(by_simdjson)) << json;
        const auto by_us = unescape_json_string(std::string_view{json}.substr(1, json.size() - 2));
        ASSERT_TRUE(by_us);
        ASSERT_EQ(*by_us, by_simdjson);
        if (is_utf8) {
            ASSERT_EQ(*by_us, text);
        }
    };
    for (char32_t c = 0; c <= 0x10ffff; c += c < 0x3000 ? 1 : 251) {
        if (c >= 0xd800 && c <= 0xdfff) {
            continue;
        }
        std::string text = "x";
        if (c < 0x80) {
            text += static_cast<char>(c);
        } else if (c < 0x800) {
            text += {static_cast<char>(0xc0 | c >> 6), static_cast<char>(0x80 | (c & 0x3f))};
        } else if (c < 0x10000) {
            text +=
                {static_cast<char>(0xe0 | c >> 12),
                 static_cast<char>(0x80 | (c >> 6 & 0x3f)),
                 static_cast<char>(0x80 | (c & 0x3f))};
        } else {
            text +=
                {static_cast<char>(0xf0 | c >> 18),
                 static_cast<char>(0x80 | (c >> 12 & 0x3f)),
                 static_cast<char>(0x80 | (c >> 6 & 0x3f)),
                 static_cast<char>(0x80 | (c & 0x3f))};
        }
        check(text, true);
    }
    for (int byte = 0x80; byte < 0x100; ++byte) {
        check(std::string{"a"} + static_cast<char>(byte), false);
        check(std::string{"a"} + static_cast<char>(byte) + "b", false);
    }
}

} // namespace
} // namespace gw::wire
