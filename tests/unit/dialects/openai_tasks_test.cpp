#include "support.hpp"

#include "payload/tasks.hpp"

namespace gw::dialects {
namespace {

result<request> asked_at(std::string_view target, const sample_body& body)
{
    return sample{.target = std::string(target), .content_type = "application/json"}.parse(body);
}

TEST(openai_tasks, what_the_words_mean)
{
    struct row
    {
        std::string_view target;
        std::string_view body;
        std::string_view task;
        std::string_view inputs;
        std::string_view parameters;
    };
    const row rows[] = {
        {"/v1/embeddings",
         R"({"input":["a"],"model":"m","encoding_format":"base64","user":"u"})",
         "feature-extraction",
         R"(["a"])",
         ""},
        {"/v1/embeddings",
         R"({"dimensions":1e2,"input":"a","model":"m","inputs":"mine","parameters":{"a":1}})",
         "feature-extraction",
         R"("a")",
         R"({"dimensions":1e2})"},
        {"/v1/completions",
         R"({"model":"m","prompt":"a","max_tokens":5,"stream":false,"logit_bias":null})",
         "text-generation",
         R"("a")",
         R"({"return_full_text":false,"max_new_tokens":5})"},
        {"/v1/completions",
         R"({"model":"m","prompt":"a","echo":true,"temperature":0.0,"n":2})",
         "text-generation",
         R"("a")",
         R"({"return_full_text":true,"do_sample":false,"num_return_sequences":2})"},
        {"/v1/completions",
         R"({"model":"m","prompt":"a","temperature":0.05,"max_new_tokens":7,"max_tokens":5})",
         "text-generation",
         R"("a")",
         R"({"return_full_text":false,"temperature":0.05,"max_new_tokens":7})"},
        {"/v1/images/generations",
         R"({"model":"m","prompt":"a","n":1,"size":"auto","seed":7})",
         "text-to-image",
         R"("a")",
         R"({"seed":7})"},
        {"/v1/images/generations",
         R"({"model":"m","prompt":"a","size":"64x32","response_format":"url"})",
         "text-to-image",
         R"("a")",
         R"({"width":64,"height":32})"},
        {"/v1/audio/speech",
         R"({"model":"m","input":"a","voice":"alloy","speed":1.5})",
         "text-to-speech",
         R"("a")",
         R"({"speed":1.5})"},
    };
    for (const auto& each : rows) {
        SCOPED_TRACE(each.body);
        const auto body = sample_body::json(std::string(each.body));
        const auto asked = asked_at(each.target, *body);
        ASSERT_TRUE(asked.has_value()) << asked.error().text;
        ASSERT_NE(asked->task, nullptr);
        EXPECT_EQ(asked->task->name, each.task);
        EXPECT_EQ(body->at(*asked->inputs), each.inputs);
        EXPECT_EQ(find_member(*asked, "inputs")->text, each.inputs)
            << "the task's own, whatever else was sent";
        EXPECT_EQ(asked->parameters, each.parameters);
        EXPECT_EQ(asked->model, "m");
        EXPECT_EQ(body->at(*asked->model_at), R"("m")");
    }
}

TEST(openai_tasks, a_path_names_the_model_whatever_the_body_says)
{
    const auto body = sample_body::json(R"({"model":"tgi","prompt":"a","stream":true})");
    const auto asked = asked_at("/models/org/name/v1/completions", *body);
    ASSERT_TRUE(asked.has_value()) << asked.error().text;
    EXPECT_EQ(asked->model, "org/name");
    EXPECT_EQ(body->at(*asked->model_at), R"("tgi")");
    EXPECT_TRUE(asked->stream);
}

TEST(openai_tasks, sizes_that_are_none)
{
    for (const std::string_view size : {"512", "0x5", "x", "5x", "1x2x3", "-1x5", "123456x1", "5x 5"}) {
        const auto body =
            sample_body::json(R"({"model":"m","prompt":"a","size":")" + std::string(size) + R"("})");
        const auto asked = asked_at("/v1/images/generations", *body);
        ASSERT_FALSE(asked.has_value()) << size;
        EXPECT_EQ(asked.error().param, "size");
    }
}

// An answer of the task, in the words of the door.
std::string told(std::string_view target, std::string_view body, std::string_view answer)
{
    const auto sent = sample_body::json(std::string(body));
    auto asked = asked_at(target, *sent);
    EXPECT_TRUE(asked.has_value());
    asked->request_id = "r";
    asked->arrived = 5;
    auto made = tongue_of(target).answer_of(*asked, std::string(answer));
    return made ? *made : std::string(to_string(made.error().what));
}

TEST(openai_tasks, vectors)
{
    constexpr std::string_view zero = R"(,"model":"m","usage":{"prompt_tokens":0,"total_tokens":0}})";
    const auto list = [&](std::string_view vectors) {
        return R"({"object":"list","data":[)" + std::string(vectors) + "]" + std::string(zero);
    };
    constexpr std::string_view one = R"({"input":"a","model":"m"})";
    constexpr std::string_view packed = R"({"input":"a","model":"m","encoding_format":"base64"})";
    EXPECT_EQ(
        told("/v1/embeddings", one, "[[1.50, -2e-9]]"),
        list(R"({"object":"embedding","index":0,"embedding":[1.50, -2e-9]})")
    ) << "numbers stay as they came";
    EXPECT_EQ(
        told("/v1/embeddings", packed, "[1,-2.5]"),
        list(R"({"object":"embedding","index":0,"embedding":"AACAPwAAIMA="})")
    );
    EXPECT_EQ(
        told("/v1/embeddings", packed, "[1e39,1e-60]"),
        list(R"({"object":"embedding","index":0,"embedding":"AACAfwAAAAA="})")
    ) << "beyond 32 bits: infinite, or nothing";
    EXPECT_EQ(
        told("/v1/embeddings", R"({"input":[[1,2],[3]],"model":"m"})", "[[1],[2]]"),
        list(
            R"({"object":"embedding","index":0,"embedding":[1]},{"object":"embedding","index":1,"embedding":[2]})"
        )
    );
    EXPECT_EQ(
        told(
            "/v1/embeddings",
            packed,
            R"({"data":[{"embedding":"AACAPw==","index":0}],"model":"theirs","usage":{"prompt_tokens":3}})"
        ),
        R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":"AACAPw=="}],"model":"m","usage":{"prompt_tokens":3}})"
    );
    for (const std::string_view tokens : {"[[1],[2]]", "[[[1],[2]]]", "[[[[1]]]]"}) {
        EXPECT_EQ(told("/v1/embeddings", one, tokens), "unsupported") << tokens;
    }
    for (const std::string_view bad :
         {"", "[", "[]", "{}", "5", R"({"data":[{}]})", R"({"data":[{"embedding":{}}]})"}) {
        EXPECT_EQ(told("/v1/embeddings", one, bad), "unavailable") << bad;
    }
    EXPECT_EQ(told("/v1/embeddings", packed, R"(["a",1])"), "unavailable");
}

TEST(openai_tasks, generated_text)
{
    constexpr std::string_view asked = R"({"prompt":"a","model":"m"})";
    EXPECT_EQ(
        told(
            "/v1/completions", asked, R"([{"generated_text":"\u00e4","details":{"finish_reason":"length"}}])"
        ),
        R"({"id":"cmpl-r","object":"text_completion","created":5,"model":"m","choices":[)"
        R"({"index":0,"text":"\u00e4","logprobs":null,"finish_reason":"length"}]})"
    );
    EXPECT_EQ(told("/v1/completions", asked, R"({"choices":[]})"), R"({"choices":[]})") << "theirs already";
    for (const std::string_view bad :
         {"", "[]", "{}", "[{}]", R"([{"generated_text":5}])", R"([[{"a":1}]])"}) {
        EXPECT_EQ(told("/v1/completions", asked, bad), "unavailable") << bad;
    }
}

TEST(openai_tasks, a_whole_answer_for_who_asked_for_events)
{
    const auto body = sample_body::json(R"({"prompt":"a","model":"m","stream":true})");
    auto asked = asked_at("/v1/completions", *body);
    ASSERT_TRUE(asked.has_value());
    const auto& tongue = tongue_of("/v1/completions");
    for (const auto kind : {dialect::answer_is::json, dialect::answer_is::own_json}) {
        EXPECT_EQ(tongue.render(*asked, kind, "application/json")->as, rendering::how::chunked_events);
    }
    const auto events = events_in(tongue.events_from_answer(*asked, R"([{"generated_text":"x"}])"));
    ASSERT_EQ(events.size(), 2U);
    json_reader reader;
    EXPECT_EQ(text_at(reader.read(events[0]), "/choices/0/text"), "x");
    EXPECT_EQ(events[1], "[DONE]");
    const auto none = events_in(tongue.events_from_answer(*asked, "{}"));
    ASSERT_EQ(none.size(), 1U);
    EXPECT_TRUE(has(reader.read(none[0]), "/error/message"));
}

TEST(openai_tasks, a_picture)
{
    for (const auto& [format, before] : std::vector<std::pair<std::string, std::string>>{
             {"b64_json", R"({"created":5,"data":[{"b64_json":")"},
             {"url", R"({"created":5,"data":[{"url":"data:image/\"x;base64,)"},
         }) {
        const auto body =
            sample_body::json(R"({"prompt":"a","model":"m","response_format":")" + format + R"("})");
        auto asked = asked_at("/v1/images/generations", *body);
        ASSERT_TRUE(asked.has_value());
        asked->arrived = 5;
        const auto shape =
            tongue_of("/v1/images/generations").render(*asked, dialect::answer_is::bytes, "image/\"x");
        ASSERT_TRUE(shape.has_value());
        EXPECT_EQ(shape->as, rendering::how::base64_json);
        EXPECT_EQ(shape->before, before);
        EXPECT_EQ(shape->after, R"("}]})");
    }
}

TEST(openai_tasks, answers_of_another_kind)
{
    using is = dialect::answer_is;
    for (const auto& [target, key, kind] : std::vector<std::tuple<std::string, std::string, is>>{
             {"/v1/embeddings", "input", is::bytes},
             {"/v1/embeddings", "input", is::events},
             {"/v1/completions", "prompt", is::bytes},
             {"/v1/images/generations", "prompt", is::events},
             {"/v1/audio/speech", "input", is::json},
         }) {
        const auto body = sample_body::json(R"({"model":"m",")" + key + R"(":"a"})");
        const auto asked = asked_at(target, *body);
        ASSERT_TRUE(asked.has_value());
        const auto shape = tongue_of(target).render(*asked, kind, "image/png");
        ASSERT_FALSE(shape.has_value()) << target;
        EXPECT_EQ(shape.error().what, code::unavailable);
    }
}

} // namespace
} // namespace gw::dialects
