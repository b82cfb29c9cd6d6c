#include "dialects/answers.hpp"
#include "support.hpp"

#include "wire/json_text.hpp"

#include <map>
#include <random>

namespace gw::dialects {
namespace {

// A request that asked for a stream, with stream_options as given ("" for none).
request chat_request(std::string_view stream_options = "")
{
    request asked;
    asked.at = door::openai_chat;
    asked.dialect = dialect_id::openai;
    asked.model = "org/name";
    asked.request_id = "req-1";
    asked.stream = true;
    if (!stream_options.empty()) {
        asked.members.push_back({.name = "stream_options", .where = {}, .text = stream_options});
    }
    return asked;
}

// The events of a chat, each read by another JSON reader; the last must be [DONE] and is not among them.
struct chunk
{
    std::unique_ptr<json_reader> reader = std::make_unique<json_reader>();
    simdjson::dom::element root;
};

std::vector<chunk> chunks_of(std::string_view answer, const request& asked)
{
    const std::string stream = tongue_of("/v1/chat/completions").events_from_answer(asked, answer);
    auto events = events_in(stream);
    EXPECT_FALSE(events.empty());
    EXPECT_EQ(events.back(), "[DONE]");
    events.pop_back();
    std::vector<chunk> chunks;
    for (const auto& event : events) {
        chunk made;
        made.root = made.reader->read(event);
        chunks.push_back(std::move(made));
    }
    return chunks;
}

const std::string plain = R"({
  "id": "chatcmpl-7", "object": "chat.completion", "created": 1700000000, "model": "served-name", "system_fingerprint": "fp_1",
  "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello there."}, "logprobs": null, "finish_reason": "length"}],
  "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
})";

TEST(answers, a_chat_becomes_role_content_finish)
{
    const auto chunks = chunks_of(plain, chat_request());
    ASSERT_EQ(chunks.size(), 3u);
    for (const auto& each : chunks) {
        EXPECT_EQ(text_at(each.root, "/id"), "chatcmpl-7");
        EXPECT_EQ(text_at(each.root, "/object"), "chat.completion.chunk");
        EXPECT_EQ(text_at(each.root, "/model"), "served-name");
        EXPECT_EQ(text_at(each.root, "/system_fingerprint"), "fp_1");
        EXPECT_EQ(each.root.at_pointer("/created").get_int64().value(), 1700000000);
        EXPECT_EQ(each.root.at_pointer("/choices").get_array().value().size(), 1u);
        EXPECT_EQ(each.root.at_pointer("/choices/0/index").get_int64().value(), 0);
        EXPECT_FALSE(has(each.root, "/usage")) << "nobody asked for it";
        EXPECT_FALSE(has(each.root, "/error")) << "JS takes any `error` for one";
    }
    EXPECT_EQ(text_at(chunks[0].root, "/choices/0/delta/role"), "assistant");
    EXPECT_EQ(text_at(chunks[0].root, "/choices/0/delta/content"), "");
    EXPECT_TRUE(chunks[0].root.at_pointer("/choices/0/finish_reason").is_null());
    EXPECT_EQ(text_at(chunks[1].root, "/choices/0/delta/content"), "Hello there.");
    EXPECT_TRUE(chunks[1].root.at_pointer("/choices/0/finish_reason").is_null());
    EXPECT_EQ(chunks[2].root.at_pointer("/choices/0/delta").get_object().value().size(), 0u);
    EXPECT_EQ(text_at(chunks[2].root, "/choices/0/finish_reason"), "length");
}

TEST(answers, the_stream_ends_with_done_alone)
{
    const auto stream = tongue_of("/models/m/v1/chat/completions").events_from_answer(chat_request(), plain);
    EXPECT_TRUE(stream.ends_with("}\n\ndata: [DONE]\n\n")) << "exactly one blank before it";
}

TEST(answers, usage_comes_in_a_chunk_of_its_own_when_asked_for)
{
    const auto chunks = chunks_of(plain, chat_request(R"({"include_usage":true})"));
    ASSERT_EQ(chunks.size(), 4u);
    for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_TRUE(chunks[i].root.at_pointer("/usage").is_null());
    }
    EXPECT_EQ(chunks[3].root.at_pointer("/choices").get_array().value().size(), 0u);
    EXPECT_EQ(chunks[3].root.at_pointer("/usage/total_tokens").get_int64().value(), 8);
    EXPECT_EQ(text_at(chunks[3].root, "/id"), "chatcmpl-7");
}

TEST(answers, usage_that_the_upstream_did_not_tell_is_not_invented)
{
    const std::string answer = R"({"choices":[{"message":{"content":"a"}}],"usage":null})";
    const auto chunks = chunks_of(answer, chat_request(R"({"include_usage":true})"));
    ASSERT_EQ(chunks.size(), 3u);
}

TEST(answers, what_an_upstream_leaves_out_is_filled_in)
{
    const auto chunks = chunks_of(R"({"choices":[{"message":{"content":"a"}}]})", chat_request());
    ASSERT_EQ(chunks.size(), 3u);
    EXPECT_EQ(text_at(chunks[0].root, "/id"), "chatcmpl-req-1");
    EXPECT_EQ(text_at(chunks[0].root, "/model"), "org/name");
    EXPECT_EQ(chunks[0].root.at_pointer("/created").get_int64().value(), 0);
    EXPECT_EQ(text_at(chunks[0].root, "/choices/0/delta/role"), "assistant");
    EXPECT_EQ(text_at(chunks[2].root, "/choices/0/finish_reason"), "stop");
}

TEST(answers, tool_calls_get_the_index_that_clients_join_them_by)
{
    const std::string answer =
        R"({"id":"x","choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant",
        "content":null,"tool_calls":[
          {"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":\n1}"}},
          { "id":"call_2","type":"function","function":{"name":"g","arguments":""}},
          {"index":7,"id":"call_3"}, {} ]}}]})";
    const auto chunks = chunks_of(answer, chat_request());
    ASSERT_EQ(chunks.size(), 6u);
    const std::string calls = "/choices/0/delta/tool_calls";
    EXPECT_EQ(chunks[1].root.at_pointer(calls + "/0/index").get_int64().value(), 0);
    EXPECT_EQ(text_at(chunks[1].root, calls + "/0/id"), "call_1");
    EXPECT_EQ(text_at(chunks[1].root, calls + "/0/function/arguments"), "{\"a\":\n1}");
    EXPECT_EQ(chunks[2].root.at_pointer(calls + "/0/index").get_int64().value(), 1);
    EXPECT_EQ(text_at(chunks[2].root, calls + "/0/id"), "call_2");
    EXPECT_EQ(chunks[3].root.at_pointer(calls + "/0/index").get_int64().value(), 7);
    EXPECT_EQ(chunks[4].root.at_pointer(calls + "/0/index").get_int64().value(), 3);
    EXPECT_EQ(text_at(chunks[5].root, "/choices/0/finish_reason"), "tool_calls");
}

TEST(answers, reasoning_comes_before_the_content_and_refusals_are_kept)
{
    const std::string answer =
        R"({"choices":[{"message":{"role":"assistant","content":"yes","reasoning_content":"hm",
        "refusal":"no","annotations":[],"audio":null},"finish_reason":"stop","stop_reason":null}]})";
    const auto chunks = chunks_of(answer, chat_request());
    ASSERT_EQ(chunks.size(), 6u);
    EXPECT_EQ(text_at(chunks[1].root, "/choices/0/delta/reasoning_content"), "hm");
    EXPECT_EQ(text_at(chunks[2].root, "/choices/0/delta/refusal"), "no");
    EXPECT_TRUE(chunks[3].root.at_pointer("/choices/0/delta/annotations").is_array());
    EXPECT_EQ(text_at(chunks[4].root, "/choices/0/delta/content"), "yes");
}

TEST(answers, each_choice_keeps_its_index)
{
    const std::string answer = R"({"choices":[{"index":1,"message":{"content":"b"},"finish_reason":"stop"},
        {"index":0,"message":{"content":"a"},"finish_reason":"length"},{"message":{"content":""}}]})";
    std::map<std::int64_t, std::string> contents;
    for (const auto& each : chunks_of(answer, chat_request())) {
        const auto index = each.root.at_pointer("/choices/0/index").get_int64().value();
        if (has(each.root, "/choices/0/delta/content")) {
            contents[index] += text_at(each.root, "/choices/0/delta/content");
        }
    }
    EXPECT_EQ(contents, (std::map<std::int64_t, std::string>{{0, "a"}, {1, "b"}, {2, ""}}));
}

TEST(answers, log_probabilities_go_with_the_content_once)
{
    const std::string answer =
        R"({"choices":[{"message":{"content":"ab"},"logprobs":{"content":[{"token":"ab","logprob":-0.10000000000000000001}]},"finish_reason":"stop"}]})";
    const auto stream = *events_of(chat_request(), answer);
    const std::string exact = R"("logprobs":{"content":[{"token":"ab","logprob":-0.10000000000000000001}]})";
    const auto first = stream.find(exact);
    ASSERT_NE(first, std::string::npos) << "numbers are not touched";
    EXPECT_EQ(stream.find(exact, first + 1), std::string::npos);
    EXPECT_NE(stream.find(R"("delta":{"content":"ab"},)" + exact), std::string::npos);

    const std::string silent =
        R"({"choices":[{"message":{"content":null},"logprobs":{"content":[]},"finish_reason":"stop"}]})";
    EXPECT_NE(
        events_of(chat_request(), silent)
            ->find(R"("delta":{},"logprobs":{"content":[]},"finish_reason":"stop")"),
        std::string::npos
    );
}

TEST(answers, content_that_is_no_text_is_kept)
{
    const std::string answer = R"({"choices":[{"message":{"content":[{"type":"text","text":"a"}]}}]})";
    const auto chunks = chunks_of(answer, chat_request());
    ASSERT_EQ(chunks.size(), 3u);
    EXPECT_EQ(text_at(chunks[1].root, "/choices/0/delta/content/0/text"), "a");
}

TEST(answers, characters_that_break_lines_are_escaped_everywhere)
{
    const std::string breaks = "a\xC2\x85"
                               "b\xE2\x80\xA8"
                               "c\xE2\x80\xA9"
                               "d\xE2\x80\xA7\xC2\x86";
    const std::string answer = R"({"id":")" + breaks + R"(","model":")" + breaks +
                               "\",\r\n\"choices\":[{\"message\":\n{\"role\":\"" + breaks +
                               R"(","content":")" + breaks + R"(","x)" + breaks + R"(":{")" + breaks +
                               R"(":[")" + breaks + R"("]},"tool_calls":[{"id":")" + breaks +
                               R"("}]},"finish_reason":")" + breaks + R"("}]})";
    const auto chunks = chunks_of(answer, chat_request()); // events_in() looks for the raw characters
    ASSERT_EQ(chunks.size(), 5u);
    EXPECT_EQ(text_at(chunks[0].root, "/id"), breaks);
    EXPECT_EQ(text_at(chunks[0].root, "/model"), breaks);
    EXPECT_EQ(text_at(chunks[0].root, "/choices/0/delta/role"), breaks);
    EXPECT_EQ(text_at(chunks[1].root, "/choices/0/delta/x" + breaks + "/" + breaks + "/0"), breaks);
    EXPECT_EQ(text_at(chunks[2].root, "/choices/0/delta/content"), breaks);
    EXPECT_EQ(text_at(chunks[3].root, "/choices/0/delta/tool_calls/0/id"), breaks);
    EXPECT_EQ(text_at(chunks[4].root, "/choices/0/finish_reason"), breaks);
}

TEST(answers, generated_text_becomes_tgi_tokens)
{
    for (const std::string answer : {
             R"([{"generated_text":"Hello \"you\""}])",
             R"({"generated_text":"Hello \"you\"","details":{"finish_reason":"length","generated_tokens":3,"seed":null}})",
         }) {
        SCOPED_TRACE(answer);
        request asked = chat_request();
        asked.at = door::hf_task;
        const auto events = events_in(*events_of(asked, answer));
        ASSERT_EQ(events.size(), 2u);
        EXPECT_EQ(events[1], "[DONE]");
        json_reader reader;
        const auto token = reader.read(events[0]);
        EXPECT_EQ(token.at_pointer("/index").get_int64().value(), 1);
        EXPECT_EQ(text_at(token, "/token/text"), "Hello \"you\"");
        EXPECT_EQ(token.at_pointer("/token/special").get_bool().value(), false);
        EXPECT_EQ(text_at(token, "/generated_text"), "Hello \"you\"");
        EXPECT_EQ(has(token, "/details/finish_reason"), answer.starts_with('{'));
    }
}

TEST(answers, a_long_generated_text_comes_in_pieces_and_whole_at_the_end)
{
    std::string text;
    for (int i = 0; i < 5000; ++i) {
        text += "word ";
    }
    const auto events = events_in(*events_of(chat_request(), R"([{"generated_text":")" + text + "\"}]"));
    ASSERT_EQ(events.size(), 3u);
    std::string joined;
    for (std::size_t i = 0; i + 1 < events.size(); ++i) {
        json_reader reader;
        const auto token = reader.read(events[i]);
        EXPECT_EQ(token.at_pointer("/index").get_int64().value(), static_cast<std::int64_t>(i) + 1);
        joined += text_at(token, "/token/text");
        EXPECT_EQ(token.at_pointer("/generated_text").is_null(), i == 0);
    }
    EXPECT_EQ(joined, text);
}

TEST(answers, any_other_answer_is_one_event)
{
    for (const std::string answer : {
             "[{\"label\":\"a\",\n \"score\":0.5}]",
             "{\"choices\":[]}",
             R"({"choices":[{"text":"a"}]})",
             R"({"choices":[{"message":{"content":"a"}},{"text":"b"}]})",
             R"({"choices":7})",
             R"([{"generated_text":"a"},{"generated_text":"b"}])",
             R"([{"generated_text":7}])",
             "[]",
             "{}",
             " \"text\"\n",
             "1e400",
         }) {
        SCOPED_TRACE(answer);
        const auto events = events_in(*events_of(chat_request(), answer));
        ASSERT_EQ(events.size(), 2u);
        EXPECT_EQ(events[1], "[DONE]");
        std::string expected = answer;
        std::erase(expected, '\n');
        if (expected.starts_with(' ')) {
            expected.erase(0, 1);
        }
        EXPECT_EQ(events[0], expected);
    }
}

TEST(answers, a_cut_answer_is_an_error_and_never_a_stream)
{
    for (std::size_t size = 0; size < plain.size(); ++size) {
        const std::string_view cut = std::string_view{plain}.substr(0, size);
        ASSERT_FALSE(events_of(chat_request(), cut).has_value()) << cut;
    }
    for (const std::string path :
         {"/v1/chat/completions", "/models/m/v1/chat/completions", "/v1/inference"}) {
        SCOPED_TRACE(path);
        const auto events =
            events_in(tongue_of(path).events_from_answer(chat_request(), "{\"a\":\n\ndata: evil\n\n"));
        ASSERT_EQ(events.size(), 1u) << "no [DONE] behind a failure";
        json_reader reader;
        const auto error = reader.read(events[0]);
        EXPECT_EQ(text_at(error, "/error/code"), "broken_stream");
        EXPECT_EQ(events[0].find("evil"), std::string::npos);
    }
}

// Any JSON string as content: what the deltas say together is what the message said.
TEST(answers, deltas_together_are_the_content_for_any_text)
{
    std::mt19937 random(20261125);
    const auto pick = [&random](std::size_t below) { return static_cast<std::size_t>(random() % below); };
    // Pieces of a JSON string as an upstream may write them: raw, escaped, pairs, and what lies at the edges.
    const std::vector<std::string> units = {
        "a",
        " ",
        "0",
        "\\\\",
        "\\\"",
        "\\/",
        "\\n",
        "\\r",
        "\\t",
        "\\b",
        "\\f",
        "\\u0000",
        "\\u001f",
        "\\u0085",
        "\\u2028",
        "\\uD83D\\uDE00",
        "\\ud83d\\ude00",
        "\\uFFFF",
        "\\udbff\\udfff",
        "\\u00e9",
        "\x7F",
        "\xC3\xA9",
        "\xC2\x85",
        "\xE2\x80\xA8",
        "\xE2\x80\xA9",
        "\xE2\x82\xAC",
        "\xEF\xBF\xBF",
        "\xF0\x9F\x98\x80",
        "\xF4\x8F\xBF\xBF",
        "data: ",
        "[DONE]",
        "{",
        "}",
        "u",
        "\\\\u1234",
        "'",
        "&",
    };
    for (int round = 0; round < 400; ++round) {
        const std::size_t count = round % 10 == 0 ? 4000 + pick(16000) : pick(40);
        std::string inside;
        for (std::size_t i = 0; i < count; ++i) {
            inside += units[pick(units.size())];
        }
        const auto expected = wire::unescape_json_string(inside);
        ASSERT_TRUE(expected.has_value());
        const std::string answer =
            R"({"choices":[{"message":{"role":"assistant","content":")" + inside + R"("}}]})";
        std::string joined;
        for (const auto& each : chunks_of(answer, chat_request())) {
            if (has(each.root, "/choices/0/delta/content")) {
                joined += text_at(each.root, "/choices/0/delta/content");
            }
        }
        ASSERT_EQ(joined, *expected) << "round " << round;
    }
}

TEST(answers, long_content_comes_in_short_lines)
{
    const std::string inside(200 * 1024, 'x');
    const auto stream =
        *events_of(chat_request(), R"({"choices":[{"message":{"content":")" + inside + R"("}}]})");
    std::size_t longest = 0;
    for (const auto& event : events_in(stream)) {
        longest = std::max(longest, event.size());
    }
    EXPECT_LT(longest, 20u * 1024);
}

TEST(answers, lone_surrogates_stay_as_they_were_written)
{
    const auto stream = *events_of(chat_request(), R"({"choices":[{"message":{"content":"a\ud800b"}}]})");
    EXPECT_NE(stream.find(R"({"content":"a\ud800b"})"), std::string::npos);
}

// What all chunks share is repeated in each: an upstream must not make gigabytes out of a few megabytes that
// way.
TEST(answers, an_answer_grows_by_a_bounded_amount)
{
    std::string calls;
    std::string choices;
    for (int i = 0; i < 20'000; ++i) {
        calls += i == 0 ? "{}" : ",{}";
        choices += std::string(i == 0 ? "" : ",") + R"({"message":{"content":"a"}})";
    }
    const std::string name(100'000, 'n');
    const std::string digits(100'000, '7');
    for (const std::string& answer :
         {R"({"id":")" + name + R"(","model":")" + name + R"(","system_fingerprint":")" + name +
              R"(","created":)" + digits + R"(,"choices":[{"index":)" + digits +
              R"(,"message":{"tool_calls":[)" + calls + "]}}]}",
          R"({"model":")" + name + R"(","choices":[)" + choices + "]}"}) {
        const auto events = events_of(chat_request(), answer);
        ASSERT_TRUE(events);
        EXPECT_LT(events->size(), 4 * answer.size());
        EXPECT_TRUE(events->ends_with("data: [DONE]\n\n"));
        events_in(*events);
    }
    std::string few = calls.substr(0, 3 * 100 - 1);
    const auto events =
        events_of(chat_request(), R"({"choices":[{"message":{"tool_calls":[)" + few + "]}}]}");
    EXPECT_NE(events->find(R"("tool_calls":[{"index":99}])"), std::string::npos)
        << "ordinary answers are told in chunks";
}

TEST(answers, no_bytes_make_it_throw)
{
    std::mt19937 random(7);
    for (int round = 0; round < 3000; ++round) {
        std::string mutated = plain;
        const std::size_t changes = 1 + random() % 4;
        for (std::size_t i = 0; i < changes; ++i) {
            mutated[random() % mutated.size()] = static_cast<char>(random() % 256);
        }
        const auto events = events_of(chat_request(R"({"include_usage":true})"), mutated);
        if (events) {
            EXPECT_TRUE(events->ends_with("data: [DONE]\n\n"));
            events_in(*events);
        }
    }
}

} // namespace
} // namespace gw::dialects
