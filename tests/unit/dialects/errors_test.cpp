#include "support.hpp"

#include <set>

namespace gw::dialects {
namespace {

std::vector<code> all_codes()
{
    std::vector<code> all;
    for (int i = 0; i <= static_cast<int>(code::client_gone); ++i) {
        all.push_back(static_cast<code>(i));
    }
    return all;
}

const dialect& native_tongue()
{
    return tongue_of("/v1/inference");
}
const dialect& hf_tongue()
{
    return tongue_of("/models/m");
}
const dialect& openai_tongue()
{
    return tongue_of("/v1/chat/completions");
}

TEST(errors, each_dialect_has_its_own_shape)
{
    const failure what{
        .what = code::invalid_json,
        .from = origin::client,
        .text = "`stream` is \"wrong\".\nFix it.",
        .detail = "secret detail",
        .param = "stream"
    };
    json_reader native_reader;
    const auto native_error = native_reader.read(native_tongue().error_body(what, "req-1"));
    EXPECT_EQ(text_at(native_error, "/error/code"), "invalid_json");
    EXPECT_EQ(text_at(native_error, "/error/message"), what.text);
    EXPECT_EQ(text_at(native_error, "/error/request_id"), "req-1");
    EXPECT_EQ(native_error.get_object().value().size(), 1u);
    EXPECT_EQ(native_error.at_pointer("/error").get_object().value().size(), 3u);

    json_reader hf_reader;
    const auto hf_error = hf_reader.read(hf_tongue().error_body(what, "req-1"));
    EXPECT_EQ(text_at(hf_error, "/error"), what.text) << "@huggingface/inference shows only a string";
    EXPECT_EQ(text_at(hf_error, "/code"), "invalid_json");
    EXPECT_EQ(hf_error.get_object().value().size(), 2u);

    json_reader openai_reader;
    const auto openai_error = openai_reader.read(openai_tongue().error_body(what, "req-1"));
    EXPECT_EQ(text_at(openai_error, "/error/message"), what.text);
    EXPECT_EQ(text_at(openai_error, "/error/type"), "invalid_request_error");
    EXPECT_EQ(text_at(openai_error, "/error/param"), "stream");
    EXPECT_EQ(text_at(openai_error, "/error/code"), "invalid_json");
    EXPECT_EQ(openai_error.get_object().value().size(), 1u);
    EXPECT_EQ(openai_error.at_pointer("/error").get_object().value().size(), 4u);

    EXPECT_EQ(fallback_dialect().id(), dialect_id::native);
}

TEST(errors, what_is_for_our_log_goes_to_no_client)
{
    for (const auto each : all_codes()) {
        const failure what{.what = each, .detail = "hf_CANARY at 10.0.0.1"};
        for (const auto* tongue : {&native_tongue(), &hf_tongue(), &openai_tongue()}) {
            EXPECT_EQ(tongue->error_body(what, "r").find("CANARY"), std::string::npos);
            EXPECT_EQ(tongue->error_event(what, "r").find("CANARY"), std::string::npos);
        }
    }
}

TEST(errors, a_failure_without_a_text_gets_a_sentence_of_its_own)
{
    std::set<std::string> sentences;
    for (const auto each : all_codes()) {
        SCOPED_TRACE(std::string(to_string(each)));
        json_reader reader;
        const auto error = reader.read(native_tongue().error_body({.what = each}, "r"));
        const std::string sentence = text_at(error, "/error/message");
        EXPECT_GT(sentence.size(), 30u);
        EXPECT_TRUE(sentence.ends_with('.')) << sentence;
        EXPECT_TRUE(sentences.insert(sentence).second) << "said of another code too: " << sentence;
    }
}

TEST(errors, only_openai_doors_say_503_and_only_when_full)
{
    for (const auto each : all_codes()) {
        SCOPED_TRACE(std::string(to_string(each)));
        for (const int own : {0, 503, 400, 200, 1000}) {
            for (const bool waits : {false, true}) {
                failure what{.what = each, .status = own};
                if (waits) {
                    what.retry_after = std::chrono::seconds(3);
                }
                EXPECT_NE(native_tongue().status_of(what), 503);
                EXPECT_NE(hf_tongue().status_of(what), 503);
                EXPECT_EQ(openai_tongue().status_of(what) == 503, each == code::overloaded);
                for (const auto* tongue : {&native_tongue(), &hf_tongue(), &openai_tongue()}) {
                    EXPECT_GE(tongue->status_of(what), 400);
                    EXPECT_LE(tongue->status_of(what), 599);
                }
            }
        }
    }
    EXPECT_EQ(native_tongue().status_of({.what = code::overloaded}), 429);
    EXPECT_EQ(hf_tongue().status_of({.what = code::overloaded}), 429);
}

TEST(errors, the_status_of_a_failure)
{
    const std::pair<code, int> rows[] = {
        {code::rate_limited, 429},
        {code::out_of_credits, 402},
        {code::token_rejected, 502},
        {code::warming, 429},
        {code::unavailable, 502},
        {code::timeout, 504},
        {code::unsupported, 404},
        {code::too_large, 413},
        {code::rejected, 400},
        {code::broken_stream, 502},
        {code::unauthenticated, 401},
        {code::forbidden, 403},
        {code::no_such_door, 404},
        {code::unknown_model, 404},
        {code::invalid_json, 400},
        {code::internal, 500},
        {code::header_too_large, 431},
    };
    for (const auto& [each, status] : rows) {
        for (const auto* tongue : {&native_tongue(), &hf_tongue(), &openai_tongue()}) {
            EXPECT_EQ(tongue->status_of({.what = each}), status) << to_string(each);
        }
    }
    // As the upstream said.
    EXPECT_EQ(openai_tongue().status_of({.what = code::rejected, .status = 422}), 422);
    // A 503 in disguise: waiting helps, or it does not.
    EXPECT_EQ(
        hf_tongue().status_of(
            {.what = code::unavailable, .status = 503, .retry_after = std::chrono::seconds(1)}
        ),
        429
    );
    EXPECT_EQ(hf_tongue().status_of({.what = code::unavailable, .status = 503}), 502);
}

TEST(errors, openai_types_are_those_its_sdks_know)
{
    const std::pair<code, std::string_view> rows[] = {
        {code::rate_limited, "rate_limit_error"},
        {code::warming, "rate_limit_error"},
        {code::out_of_credits, "insufficient_quota"},
        {code::token_rejected, "server_error"},
        {code::unavailable, "server_error"},
        {code::timeout, "server_error"},
        {code::overloaded, "server_error"},
        {code::internal, "server_error"},
        {code::unauthenticated, "authentication_error"},
        {code::forbidden, "permission_error"},
        {code::unknown_model, "invalid_request_error"},
        {code::rejected, "invalid_request_error"},
        {code::too_large, "invalid_request_error"},
    };
    for (const auto& [each, type] : rows) {
        json_reader reader;
        const auto error = reader.read(openai_tongue().error_body({.what = each}, "r"));
        EXPECT_EQ(text_at(error, "/error/type"), type) << to_string(each);
        EXPECT_TRUE(error.at_pointer("/error/param").is_null());
    }
}

TEST(errors, huggingface_hears_tgis_word_only_when_it_knows_it)
{
    for (const std::string type : {"generation", "incomplete_generation", "overloaded", "validation"}) {
        json_reader reader;
        const auto error =
            reader.read(hf_tongue().error_body({.what = code::rejected, .error_type = type}, "r"));
        EXPECT_EQ(text_at(error, "/error_type"), type);
    }
    for (const std::string type : {"", "template_error", "tool_error", "Validation", "validation "}) {
        json_reader reader;
        const auto error =
            reader.read(hf_tongue().error_body({.what = code::rejected, .error_type = type}, "r"));
        EXPECT_FALSE(has(error, "/error_type")) << type;
    }
}

TEST(errors, a_failure_in_mid_stream_is_one_event)
{
    const failure what{.what = code::broken_stream, .text = "It broke\xE2\x80\xA8off\n\nhere."};
    for (const auto* tongue : {&native_tongue(), &hf_tongue(), &openai_tongue()}) {
        const auto events = events_in(tongue->error_event(what, "req-1"));
        ASSERT_EQ(events.size(), 1u);
        json_reader reader;
        const auto error = reader.read(events[0]);
        EXPECT_EQ(text_at(error, "/error/message"), what.text) << "OpenAI's SDKs show only this";
        EXPECT_EQ(text_at(error, "/error/code"), "broken_stream");
    }
}

TEST(errors, bytes_that_are_no_text_do_not_break_the_body)
{
    const failure what{.what = code::rejected, .text = "cut in a character: \xE2\x80", .param = "\xFF"};
    for (const auto* tongue : {&native_tongue(), &hf_tongue(), &openai_tongue()}) {
        json_reader reader;
        const auto error = reader.read(tongue->error_body(what, "\xFE"));
        EXPECT_TRUE(error.is_object());
    }
}

} // namespace
} // namespace gw::dialects
