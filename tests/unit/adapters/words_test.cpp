// Error bodies of every known shape, and what of them may be shown.
#include "adapters/words.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gw::adapters {
namespace {

TEST(words, every_known_shape)
{
    struct row
    {
        std::string_view body;
        std::string_view message;
        std::string_view type = {};
        std::string_view code = {};
        int status = 0;
    };
    for (const row& each : std::vector<row>{
             {R"({"error":"text"})", "text"},
             {R"({"error":"text","error_type":"validation"})", "text", "validation"},
             {R"({"error":{"message":"m","type":"t","param":"model","code":"c"}})", "m", "t", "c"},
             {R"({"error":{"code":400,"message":"m","type":"invalid_request_error"}})",
              "m",
              "invalid_request_error",
              "",
              400},
             {R"({"error":{"message":"m","http_status_code":422}})", "m", "", "", 422},
             {R"({"object":"error","message":"m","type":"BadRequestError","param":null,"code":400})",
              "m",
              "BadRequestError",
              "",
              400},
             {R"({"message":"m","code":429,"type":"Overloaded"})", "m", "Overloaded", "", 429},
             {R"({"error":["first","second"]})", "first; second"},
             {R"({"detail":"d"})", "d"},
             {R"({"detail":{"error":"Not authenticated","auth_message":null}})", "Not authenticated"},
             {R"({"detail":[{"type":"missing","loc":["body","messages",0,"role"],"msg":"Field required"},{"msg":"x"}]})",
              "body.messages.0.role: Field required; x"},
             {R"({"detail":"d","status":422,"title":"t"})", "d", "", "", 422},
             {R"({"errors":[{"message":"a"},{"message":"b"}]})", "a; b"},
             {R"({"errors":["a"]})", "a"},
             {R"({"error_description":"e"})", "e"},
             {R"(["a list"])", "a list"},
             {R"("a string")", "a string"},
             {R"({"error":null,"message":"m"})", "m"},
             {R"({"error":{}})", ""},
             {R"({})", ""},
             {"plain text", "plain text"},
             {"  padded \n", "padded"},
             {R"({"error":"cut in the midd)", R"({"error":"cut in the midd)"},
             {"", ""},
         }) {
        const upstream_words got = read_words(each.body, "application/json");
        EXPECT_EQ(got.message, each.message) << each.body;
        EXPECT_EQ(got.type, each.type) << each.body;
        EXPECT_EQ(got.code, each.code) << each.body;
        EXPECT_EQ(got.status, each.status) << each.body;
        EXPECT_FALSE(got.html) << each.body;
    }
    EXPECT_DOUBLE_EQ(read_words(R"({"error":"x","estimated_time":20.5})", "").estimated_time, 20.5);
    EXPECT_LT(read_words(R"({"error":"x","estimated_time":-3})", "").estimated_time, 0);
    EXPECT_LT(read_words(R"({"error":"x","estimated_time":"soon"})", "").estimated_time, 0);
    EXPECT_TRUE(read_words("<html>", "application/json").html) << "told by its first byte";
    EXPECT_TRUE(read_words("Error 1020", "text/html; charset=utf-8").html) << "told by its type";
}

TEST(words, cleaned)
{
    struct row
    {
        std::string dirty;
        std::string clean;
    };
    const std::string long_run(200, 'A');
    for (const row& each : std::vector<row>{
             {"plain", "plain"},
             {"\n   two\r\n  lines\t", "two lines"},
             {std::string("nul\0bell\x07", 9), "nul bell"},
             {"bad \xff\xfe utf-8", "bad \xEF\xBF\xBD utf-8"},
             {"overlong \xC0\xAF", "overlong \xEF\xBF\xBD"},
             {"surrogate \xED\xA0\x80.", "surrogate \xEF\xBF\xBD."},
             {"caf\xC3\xA9 \xF0\x9F\x99\x82", "caf\xC3\xA9 \xF0\x9F\x99\x82"},
             {"line\xE2\x80\xA8separator", "line separator"},
             {"next\xC2\x85line", "next line"},
             {"right\xE2\x80\xAEto left", "right to left"},
             {"Got " + long_run + ".", "Got …."},
             {"'data:image/png;base64," + long_run + "==' is bad", "'data:image/png;base64,…' is bad"},
             {long_run + "\n" + long_run + "\nQUJDREVGR0hJSktMTU5P rest", "… rest"},
             {R"(received: b'\xff\xd8\xff\xe0' end)", "received: … end"},
             {R"(received: b"it's \"x\"" end)", "received: … end"},
             {"received: b'never closed", "received: …"},
             {"token hf_abcdefghijklmnopqrstuvwxyz012345 was bad", "token … was bad"},
             {"the hf_hub library", "the hf_hub library"},
             {"google/vit-base-patch16-224-in21k", "google/vit-base-patch16-224-in21k"},
             {"a b'c", "a …"},
             {"", ""},
         }) {
        EXPECT_EQ(clean_words(each.dirty), each.clean) << each.dirty;
    }
}

TEST(words, cut_at_whole_characters)
{
    std::string text;
    for (int i = 0; i < 300; ++i) {
        text += "\xC3\xA9 ";
    }
    for (std::size_t limit = 3; limit < 60; ++limit) {
        const std::string cut = clean_words(text, limit);
        EXPECT_LE(cut.size(), limit);
        EXPECT_TRUE(cut.ends_with("…"));
        EXPECT_EQ(clean_words(cut, 500), cut) << "what was cut is valid and clean";
    }
    EXPECT_LE(clean_words(std::string(100'000, ' ') + std::string(100'000, 'x') + " y").size(), 500U);
}

TEST(words, cleaning_is_final)
{
    std::string noise;
    for (unsigned i = 0; i < 20'000; ++i) {
        noise += static_cast<char>((i * 2654435761U) >> 24U);
    }
    for (std::size_t at = 0; at + 700 < noise.size(); at += 611) {
        const std::string once = clean_words(std::string_view(noise).substr(at, 700));
        EXPECT_EQ(clean_words(once), once);
        for (const char c : once) {
            EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
        }
    }
}

TEST(words, errors_among_events)
{
    struct row
    {
        std::string_view name;
        std::string_view data;
        bool error;
    };
    for (const row& each : std::vector<row>{
             {"", R"({"error":"text"})", true},
             {"", R"({"error":{"message":"m"}})", true},
             {"", R"({"error":{"message":"m","http_status_code":422}})", true},
             {"", R"({"object":"error","message":"m","code":400})", true},
             {"", R"({"message":"m","code":429,"type":"Overloaded"})", true},
             {"error", "anything", true},
             {"error", R"({"type":"error"})", true},
             {"", R"({"choices":[{"delta":{"content":"x"}}],"error":null})", false},
             {"", R"({"choices":[{"delta":{"content":"he said \"error\" twice"}}]})", false},
             {"",
              R"({"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{\"error\":1}"}}]}}]})",
              false},
             {"", R"({"choices":[{"message":{"code":1}}]})", false},
             {"", R"({"index":1,"token":{"id":1,"text":"x"},"generated_text":null})", false},
             {"", R"([DONE])", false},
             {"", R"({"error":)", false},
             {"", "", false},
             {"message", R"({"choices":[]})", false},
         }) {
        EXPECT_EQ(is_error_event(each.name, each.data), each.error) << each.name << " " << each.data;
    }
}

TEST(words, mutations_are_survived)
{
    std::uint32_t state = 4711;
    const auto random = [&state] { return state = state * 1664525U + 1013904223U; };
    for (const std::string_view seed : {
             R"({"error":{"message":"m","type":"t","param":"model","code":"c","http_status_code":422}})",
             R"({"detail":[{"type":"missing","loc":["body","messages",0,"role"],"msg":"Field required"}]})",
             R"({"error":["a","b"],"estimated_time":20.5,"errors":[{"message":"x"}]})",
             R"({"object":"error","message":"m","type":"BadRequestError","code":400})",
             "received: b'\\xff' hf_abcdefghijklmnopqrstuvwxyz \xE2\x80\xA8",
         }) {
        for (int round = 0; round < 3000; ++round) {
            std::string text(seed);
            for (std::uint32_t changes = random() % 4 + 1; changes > 0; --changes) {
                const std::size_t at = random() % text.size();
                switch (random() % 3) {
                case 0:
                    text[at] = static_cast<char>(random() >> 24U);
                    break;
                case 1:
                    text.insert(at, 1, "{}[]\",:\\b'\0"[random() % 12]);
                    break;
                default:
                    text.erase(at, random() % 5);
                    break;
                }
                if (text.empty()) {
                    text = "x";
                }
            }
            const upstream_words words = read_words(text, "");
            EXPECT_LE(clean_words(words.message, 60).size(), 60U);
            (void)is_error_event("", text);
        }
    }
}

TEST(words, media_types)
{
    EXPECT_TRUE(is_html("text/html"));
    EXPECT_TRUE(is_html("TEXT/HTML ; charset=x"));
    EXPECT_FALSE(is_html("text/htmlx"));
    EXPECT_TRUE(is_event_stream("text/event-stream;charset=utf-8"));
    EXPECT_FALSE(is_event_stream("text/event"));
    EXPECT_TRUE(is_media("image/png"));
    EXPECT_TRUE(is_media("audio/webm;codecs=opus"));
    EXPECT_TRUE(is_media("application/octet-stream"));
    EXPECT_FALSE(is_media("application/json"));
    EXPECT_FALSE(is_media(""));
}

} // namespace
} // namespace gw::adapters
