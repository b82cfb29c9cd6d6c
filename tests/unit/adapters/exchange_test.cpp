// Conversations step by step: an event in, the next action out. Streams and bodies are recorded ones.
#include "support.hpp"

#include "adapters/exchange.hpp"
#include "wire/sse.hpp"

#include <string>
#include <vector>

namespace gw::adapters {
namespace {

using namespace std::chrono_literals;
using namespace testing;
using config::engine;
using config::kind;

constexpr wall_time now{std::chrono::seconds{784111777}};

// One attempt, driven by hand.
class attempt
{
public:
    attempt(std::shared_ptr<const config::upstream> to, std::shared_ptr<const asked_with_body> asked)
        : upstream_(std::move(to)), asked_(std::move(asked)), to_(at(*upstream_, asked_->asked)),
          talk_(adapter_for(*upstream_).open(asked_->asked, to_).value())
    {
        step(event::start{});
    }

    action_type step(const event_type& what) { return talk_->step(what, {}, now); }

    action_type head(std::string_view text)
    {
        head_text_ = "HTTP/1.1 " + std::string(text) + "\r\n\r\n";
        const auto scanned = wire::scan_response_head(head_text_, wire::response_limits, head_);
        EXPECT_TRUE(scanned && *scanned == head_text_.size()) << head_text_;
        return step(event::head{head_});
    }

    action_type whole(std::string text, bool held = true, std::uint64_t long_string = 64 * 1024)
    {
        wire::json_scanner scanner({.long_string = long_string});
        EXPECT_TRUE(scanner.feed(text));
        const auto index = scanner.finish();
        EXPECT_TRUE(index);
        return step(event::whole{*index, held ? std::string_view(text) : std::string_view{}});
    }

    conversation& talk() { return *talk_; }

private:
    std::shared_ptr<const config::upstream> upstream_;
    std::shared_ptr<const asked_with_body> asked_;
    target to_;
    std::unique_ptr<conversation> talk_;
    std::string head_text_;
    wire::response_head head_;
};

verdict failed(const action_type& what)
{
    EXPECT_TRUE(std::holds_alternative<action::fail>(what)) << "action " << what.index();
    return std::holds_alternative<action::fail>(what) ? std::get<action::fail>(what).why : verdict{};
}

action::read reading(const action_type& what)
{
    EXPECT_TRUE(std::holds_alternative<action::read>(what)) << "action " << what.index();
    return std::holds_alternative<action::read>(what) ? std::get<action::read>(what) : action::read{};
}

action::emit emitted(const action_type& what)
{
    EXPECT_TRUE(std::holds_alternative<action::emit>(what))
        << "action " << what.index()
        << (std::holds_alternative<action::fail>(what) ? std::get<action::fail>(what).why.text : "");
    return std::holds_alternative<action::emit>(what) ? std::get<action::emit>(what) : action::emit{};
}

// A small world: the request is of no interest, its answer is.
struct world
{
    std::shared_ptr<config::upstream> to;
    std::shared_ptr<asked_with_body> asked;

    [[nodiscard]] attempt start() const { return {to, asked}; }
};

world task_world(std::string_view task, kind where = kind::dedicated, engine what = engine::toolkit)
{
    return {
        std::make_shared<config::upstream>(upstream(where, what)),
        json(R"({"inputs":"https://example.com/a"})", task)
    };
}

world chat_world(bool stream, kind where = kind::dedicated)
{
    return {
        std::make_shared<config::upstream>(upstream(where, engine::openai)),
        json(
            stream ? R"({"model":"org/name","messages":[],"stream":true})"
                   : R"({"model":"org/name","messages":[]})",
            "chat-completion",
            door::openai_chat
        )
    };
}

const std::string picture =
    std::string("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1", 24) + some_bytes(100);

// ---- plain answers ----

TEST(exchange, json_goes_on_untouched)
{
    const world there = task_world("fill-mask");
    attempt one = there.start();
    const auto how = reading(one.head("200 OK\r\nContent-Type: application/json\r\nContent-Length: 9"));
    EXPECT_EQ(how.how, action::read::as::raw);
    EXPECT_EQ(how.answer.kind, answer_kind::json);
    EXPECT_EQ(how.answer.media_type, "application/json");
    EXPECT_EQ(how.answer.length, 9U);
    EXPECT_EQ(one.talk().accepted().what, outcome::ok);
    EXPECT_TRUE(std::holds_alternative<action::done>(one.step(event::end{})));
}

TEST(exchange, json_without_a_type_is_read_and_checked)
{
    const world there = task_world("fill-mask");
    attempt one = there.start();
    EXPECT_EQ(reading(one.head("200 OK\r\nContent-Length: 12")).how, action::read::as::whole);
    const std::string text = R"( [{"a":1}] )";
    const auto out = emitted(one.whole(text));
    EXPECT_EQ(out.head.kind, answer_kind::json);
    EXPECT_EQ(execute(out.body, text), R"([{"a":1}])");
    EXPECT_EQ(out.head.length, out.body.length());
}

TEST(exchange, bytes_go_on_untouched)
{
    const world there = task_world("text-to-image", kind::serverless);
    attempt one = there.start();
    const auto how =
        reading(one.head("200 OK\r\nContent-Type: image/jpeg; x=y\r\nTransfer-Encoding: chunked"));
    EXPECT_EQ(how.how, action::read::as::raw);
    EXPECT_EQ(how.answer.kind, answer_kind::bytes);
    EXPECT_EQ(how.answer.media_type, "image/jpeg");
    EXPECT_EQ(how.answer.length, std::nullopt);

    attempt two = there.start();
    EXPECT_EQ(reading(two.head("200 OK\r\nContent-Length: 5")).answer.media_type, "application/octet-stream");
}

TEST(exchange, images_inside_json_become_bytes)
{
    const std::string text = payloads::encode_base64(picture);
    for (const std::string& body : {
             "\"" + text + "\"",                                           // the toolkit
             R"({"image":")" + text + R"("})",                             // its custom handlers
             R"({"image":"data:image/png;base64,)" + text + R"(","n":1})", //
             R"([{"label":"x","blob":")" + text + R"("}])",                // the old CPU back end
             R"({"created":1,"data":[{"b64_json":")" + text + R"("}]})",   // OpenAI's images
             R"({"images":[{"image":")" + text + R"("}]})",                // hyperbolic
         }) {
        for (const bool held : {true, false}) {
            const world there = task_world("text-to-image");
            attempt one = there.start();
            EXPECT_EQ(
                reading(one.head("200 OK\r\nContent-Type: application/json")).how, action::read::as::whole
            );
            const auto out = emitted(one.whole(body, held, held ? 64 * 1024 : 32));
            EXPECT_EQ(out.head.kind, answer_kind::bytes) << body;
            EXPECT_EQ(out.head.media_type, "image/png") << body;
            EXPECT_EQ(out.head.length, picture.size());
            EXPECT_EQ(execute(out.body, body, 5), picture) << body;
        }
    }
}

TEST(exchange, images_of_every_length)
{
    for (std::size_t length = 1; length <= 300; ++length) {
        const std::string bytes = some_bytes(length);
        std::string text = payloads::encode_base64(bytes);
        const bool escape = length % 2 == 1;
        if (escape) {
            std::string escaped;
            for (const char c : text) {
                escaped += c == '/' ? "\\/" : std::string(1, c);
            }
            text = escaped;
        }
        const std::string body = R"({"image":")" + text + R"("})";
        for (const bool held : {true, false}) {
            if (!held && length <= 3) {
                continue; // too short to count as a long string
            }
            const world there = task_world("text-to-image");
            attempt one = there.start();
            one.head("200 OK\r\nContent-Type: application/json");
            EXPECT_EQ(execute(emitted(one.whole(body, held, 5)).body, body, 7), bytes) << length;
        }
    }
}

TEST(exchange, json_without_an_image_is_no_answer)
{
    for (const std::string body : {
             R"({"error":"no"})",
             R"({"image":"https://example.com/cat.png"})",
             R"({"image":"not base64!"})",
             R"({"image":"abc"})",
             R"({"image":null})",
             R"([])",
             R"("")",
             R"(5)",
         }) {
        const world there = task_world("text-to-image");
        attempt one = there.start();
        one.head("200 OK\r\nContent-Type: application/json");
        EXPECT_EQ(failed(one.whole(body)).what, outcome::unavailable) << body;
    }
}

TEST(exchange, an_unknown_task_lets_through_what_comes)
{
    const world there = task_world("");
    attempt json_answer = there.start();
    EXPECT_EQ(
        reading(json_answer.head("200 OK\r\nContent-Type: application/json")).answer.kind, answer_kind::json
    );
    attempt image_answer = there.start();
    EXPECT_EQ(
        reading(image_answer.head("200 OK\r\nContent-Type: image/png")).answer.kind, answer_kind::bytes
    );
    attempt page = there.start();
    EXPECT_EQ(failed(page.head("200 OK\r\nContent-Type: text/html")).what, outcome::unavailable);
}

TEST(exchange, used_tokens_are_read_from_headers_and_bodies)
{
    const world there = task_world("text-generation");
    attempt one = there.start();
    one.head("200 OK\r\nContent-Type: application/json\r\nX-Prompt-Tokens: 3\r\nX-Generated-Tokens: 10");
    EXPECT_EQ(one.talk().used().input_tokens, 3U);
    EXPECT_EQ(one.talk().used().output_tokens, 10U);

    attempt chat = chat_world(false).start();
    chat.head("200 OK\r\nContent-Type: application/json; charset=utf-8");
    EXPECT_TRUE(chat.talk().used().empty());
    chat.talk().look(
        R"({"choices":[{"message":{"content":"\"usage\":{}"}}],"usage":{"completion_tokens":19,"prompt_tokens":2,"total_tokens":21,"prompt_tokens_details":{"cached_tokens":0}}})"
    );
    EXPECT_EQ(chat.talk().used().input_tokens, 2U);
    EXPECT_EQ(chat.talk().used().output_tokens, 19U);
    for (const std::string_view nonsense :
         {"", "{", R"({"usage":5})", R"({"usage":{"prompt_tokens":"x"}})", R"([{"usage":{}}])"}) {
        chat.talk().look(nonsense);
    }
    EXPECT_EQ(chat.talk().used().input_tokens, 2U);
}

TEST(exchange, a_used_up_budget_is_told_with_the_answer)
{
    const world there = task_world("fill-mask", kind::serverless);
    attempt one = there.start();
    reading(one.head("200 OK\r\nContent-Type: application/json\r\nRateLimit: \"api\";r=0;t=55"));
    EXPECT_EQ(one.talk().accepted().what, outcome::ok);
    EXPECT_EQ(one.talk().accepted().where, scope::token_model);
    EXPECT_EQ(one.talk().accepted().retry_after, 55s);
}

// ---- refusals ----

TEST(exchange, errors_are_read_before_they_are_judged)
{
    const world there = task_world("fill-mask", kind::serverless);
    attempt one = there.start();
    EXPECT_EQ(
        reading(one.head("503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 70"))
            .how,
        action::read::as::text
    );
    const verdict why =
        failed(one.step(event::text{R"({"error":"Model x/y is currently loading","estimated_time":20.0})"}));
    EXPECT_EQ(why.what, outcome::warming);
    EXPECT_EQ(why.retry_after, 20s);
    EXPECT_EQ(why.status, 503);

    attempt two = there.start();
    two.head("429 Too Many Requests\r\nRetry-After: Sun, 06 Nov 1994 08:50:37 GMT");
    EXPECT_EQ(failed(two.step(event::text{""})).retry_after, 60s)
        << "the head's fields outlive the head, the clock is given";

    attempt three = there.start();
    const verdict moved = failed(three.head("302 Found\r\nLocation: https://evil.example/"));
    EXPECT_EQ(moved.as_code, code::upstream_redirect);
    EXPECT_FALSE(moved.text.contains("evil"));
}

TEST(exchange, the_platforms_host_is_known)
{
    world there = task_world("fill-mask");
    attempt own = there.start();
    own.head("503 Service Unavailable\r\nContent-Type: text/html");
    EXPECT_EQ(failed(own.step(event::text{"<html>"})).what, outcome::unavailable);
    there.to->at.host = "abc.us-east-1.aws.endpoints.huggingface.cloud";
    attempt platform = there.start();
    platform.head("503 Service Unavailable\r\nContent-Type: text/html");
    EXPECT_EQ(failed(platform.step(event::text{"<html>"})).what, outcome::warming);
    there.to->at.host = "endpoints.huggingface.cloud.evil.example";
    attempt other = there.start();
    other.head("503 Service Unavailable\r\nContent-Type: text/html");
    EXPECT_EQ(failed(other.step(event::text{"<html>"})).what, outcome::unavailable);
}

// ---- the operator's own answer ----

TEST(custom_answer, by_its_place)
{
    world there = task_world("image-classification", kind::dedicated, engine::custom);
    there.to->answer = "/result/0/predictions";
    const std::string body = R"({"time":1,"result":[{"predictions": [{"label":"cat","score":1e-400}] }]})";
    attempt one = there.start();
    EXPECT_EQ(reading(one.head("200 OK\r\nContent-Type: application/json")).how, action::read::as::whole);
    EXPECT_EQ(execute(emitted(one.whole(body)).body, body), R"([{"label":"cat","score":1e-400}])");

    attempt plain_text = there.start();
    EXPECT_EQ(reading(plain_text.head("200 OK\r\nContent-Type: text/plain")).how, action::read::as::whole)
        << "homemade servers get the type wrong: the scanner judges";

    attempt missing = there.start();
    missing.head("200 OK\r\nContent-Type: application/json");
    const verdict why = failed(missing.whole(R"({"result":[]})"));
    EXPECT_EQ(why.what, outcome::unavailable);
    EXPECT_TRUE(why.text.contains("/result/0/predictions")) << why.text;
}

TEST(custom_answer, too_long_to_be_held)
{
    world there = task_world("image-classification", kind::dedicated, engine::custom);
    there.to->answer = "/pre~1dictions";
    const std::string body = R"({"a":"b","pre/dictions":[1,2,3]})";
    attempt top = there.start();
    top.head("200 OK\r\nContent-Type: application/json");
    EXPECT_EQ(execute(emitted(top.whole(body, false)).body, body), "[1,2,3]")
        << "top-level members are known by range";

    there.to->answer = "/a/b";
    attempt deep = there.start();
    deep.head("200 OK\r\nContent-Type: application/json");
    EXPECT_EQ(failed(deep.whole(R"({"a":{"b":1}})", false)).what, outcome::unavailable);
}

TEST(custom_answer, an_image_at_its_place)
{
    world there = task_world("image-to-image", kind::dedicated, engine::custom);
    there.to->answer = "/out/picture";
    const std::string body = R"({"out":{"picture":")" + payloads::encode_base64(picture) + R"("}})";
    for (const bool held : {true, false}) {
        attempt one = there.start();
        one.head("200 OK\r\nContent-Type: application/json");
        const auto out = emitted(one.whole(body, held, 32));
        EXPECT_EQ(out.head.kind, answer_kind::bytes);
        EXPECT_EQ(out.head.media_type, "image/png");
        EXPECT_EQ(execute(out.body, body), picture);
    }
    attempt bytes = there.start();
    EXPECT_EQ(reading(bytes.head("200 OK\r\nContent-Type: image/png")).how, action::read::as::raw)
        << "an image is an image, wherever it was meant to stand";
    attempt none = there.start();
    none.head("200 OK\r\nContent-Type: application/json");
    EXPECT_EQ(failed(none.whole(R"({"out":{"picture":"/tmp/x.png"}})")).what, outcome::unavailable);
}

TEST(custom_answer, the_whole_answer_by_default)
{
    const world there = task_world("image-classification", kind::dedicated, engine::custom);
    attempt one = there.start();
    EXPECT_EQ(reading(one.head("200 OK\r\nContent-Type: application/json")).how, action::read::as::raw);
}

// ---- streams ----

// Runs a recorded stream; what became of each event, in letters: F forward, b forward as a bare role, d drop,
// ! fail.
struct played
{
    std::string letters;
    verdict why;
    bool ended = false;
};

played play(attempt& one, std::string_view stream, std::size_t split = 1000)
{
    played result;
    wire::sse_splitter splitter;
    for (std::size_t at = 0; at < stream.size(); at += split) {
        const std::string_view block = stream.substr(at, split);
        splitter.push(block);
        while (const auto event = splitter.next()) {
            if (event->is_comment) {
                continue;
            }
            const auto what = one.step(event::sse{event->name, event->data});
            if (const auto* on = std::get_if<action::forward>(&what)) {
                result.letters += on->content ? 'F' : 'b';
            } else if (std::holds_alternative<action::drop>(what)) {
                result.letters += 'd';
            } else {
                result.letters += '!';
                result.why = failed(what);
                return result;
            }
        }
    }
    const auto last = one.step(event::end{});
    result.ended = std::holds_alternative<action::done>(last);
    if (!result.ended) {
        result.why = failed(last);
    }
    return result;
}

constexpr std::string_view llama_stream =
    "data: "
    "{\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null}}],"
    "\"created\":1795474793,\"id\":\"chatcmpl-iOC\",\"model\":\"parrot.gguf\",\"object\":\"chat.completion."
    "chunk\"}\n\n"
    "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\" "
    "Four\"}}],\"created\":1795474793,\"id\":\"chatcmpl-iOC\",\"model\":\"parrot.gguf\",\"object\":\"chat."
    "completion.chunk\"}\n\n"
    ": keep-alive\n\n"
    "data: "
    "{\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"ways\"}}],\"created\":"
    "1795474793,\"id\":\"chatcmpl-iOC\",\"model\":\"parrot.gguf\",\"object\":\"chat.completion.chunk\"}\n\n"
    "data: "
    "{\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"delta\":{}}],\"created\":1795474793,\"id\":"
    "\"chatcmpl-iOC\",\"model\":\"parrot.gguf\",\"object\":\"chat.completion.chunk\"}\n\n"
    "data: "
    "{\"choices\":[],\"created\":1795474793,\"id\":\"chatcmpl-iOC\",\"model\":\"parrot.gguf\",\"object\":"
    "\"chat.completion.chunk\",\"usage\":{\"completion_tokens\":19,\"prompt_tokens\":2,\"total_tokens\":21,"
    "\"prompt_tokens_details\":{\"cached_tokens\":1}},\"timings\":{\"cache_n\":1}}\n\n"
    "data: [DONE]\n\n";

constexpr std::string_view tgi_chat_stream =
    "data: "
    "{\"object\":\"chat.completion.chunk\",\"id\":\"\",\"created\":1795476654,\"model\":\"x\",\"system_"
    "fingerprint\":\"3.3.6-dev0-native\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
    "\"content\":\" Fourways\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n"
    "data: "
    "{\"object\":\"chat.completion.chunk\",\"id\":\"\",\"created\":1795476654,\"model\":\"x\",\"system_"
    "fingerprint\":\"3.3.6-dev0-native\",\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":"
    "3,\"total_tokens\":8}}\n\n"
    "data: [DONE]\n\n";

TEST(stream, recorded_from_llama_cpp)
{
    for (const std::size_t split : {1U, 7U, 100U, 10'000U}) {
        attempt one = chat_world(true).start();
        const auto how =
            reading(one.head("200 OK\r\nServer: llama.cpp\r\nX-Accel-Buffering: no\r\nContent-Type: "
                             "text/event-stream\r\nTransfer-Encoding: chunked"));
        EXPECT_EQ(how.how, action::read::as::events);
        EXPECT_EQ(how.answer.kind, answer_kind::events);
        const played got = play(one, llama_stream, split);
        EXPECT_EQ(got.letters, "bFFFFF") << "the bare role waits for the first content";
        EXPECT_TRUE(got.ended);
        EXPECT_EQ(one.talk().used().input_tokens, 2U);
        EXPECT_EQ(one.talk().used().output_tokens, 19U);
    }
}

TEST(stream, recorded_from_tgi)
{
    attempt one = chat_world(true).start();
    one.head("200 OK\r\nContent-Type: text/event-stream");
    const played got = play(one, tgi_chat_stream);
    EXPECT_EQ(got.letters, "FFF") << "TGI's first chunk has the role and a word";
    EXPECT_EQ(one.talk().used().input_tokens, 5U);
    EXPECT_EQ(one.talk().used().output_tokens, 3U);

    // its own stream, which has no [DONE]
    world native = {
        std::make_shared<config::upstream>(upstream(kind::serverless)),
        json(R"({"inputs":"hello","stream":true})", "text-generation")
    };
    attempt two = native.start();
    EXPECT_EQ(reading(two.head("200 OK\r\nContent-Type: text/event-stream")).how, action::read::as::events);
    const played own = play(
        two,
        "data:{\"index\":1,\"token\":{\"id\":100,\"text\":\" "
        "Fourways\",\"logprob\":-0.25,\"special\":false},\"generated_text\":null,\"details\":null}\n\n"
        "data: {\"index\":2,\"token\":{\"id\":101,\"text\":\" "
        "says\",\"logprob\":-0.25,\"special\":false},\"generated_text\":\"hello Fourways "
        "says\",\"details\":null}\n\n"
    );
    EXPECT_EQ(own.letters, "FF");
    EXPECT_TRUE(own.ended);
}

TEST(stream, an_error_before_content_can_still_fall_back)
{
    attempt one = chat_world(true).start();
    one.head("200 OK\r\nContent-Type: text/event-stream");
    const played got = play(
        one,
        "data: {\"error\":{\"message\":\"Model is overloaded\",\"http_status_code\":422}}\n\ndata: [DONE]\n\n"
    );
    EXPECT_EQ(got.letters, "!");
    EXPECT_EQ(got.why.what, outcome::rate_limited);

    attempt two = chat_world(true).start();
    two.head("200 OK\r\nContent-Type: text/event-stream");
    const played after_role = play(
        two,
        "data: "
        "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":"
        "null}]}\n\n"
        "data: {\"error\":{\"message\":\"Request failed during generation: CUDA out of "
        "memory\",\"http_status_code\":422}}\n\n"
    );
    EXPECT_EQ(after_role.letters, "b!");
    EXPECT_EQ(after_role.why.what, outcome::unavailable) << "a bare role is no content";
}

TEST(stream, an_error_after_content_breaks_it)
{
    attempt one = chat_world(true).start();
    one.head("200 OK\r\nContent-Type: text/event-stream");
    const played got = play(
        one,
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"},\"finish_reason\":null}]}\n\n"
        "data: {\"error\":{\"message\":\"Model is overloaded\",\"http_status_code\":422}}\n\n"
    );
    EXPECT_EQ(got.letters, "F!");
    EXPECT_EQ(got.why.what, outcome::broken_stream);
    EXPECT_EQ(got.why.where, scope::upstream);
    EXPECT_FALSE(got.why.text.empty());
}

TEST(stream, one_that_ends_without_content_is_no_answer)
{
    for (const std::string_view stream : {
             "",
             "data: [DONE]\n\n",
             ": ping\n\n",
             "data: "
             "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null},\"finish_"
             "reason\":null}]}\n\n",
             "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\ndata: [DONE]\n\n",
         }) {
        attempt one = chat_world(true).start();
        one.head("200 OK\r\nContent-Type: text/event-stream");
        const played got = play(one, stream);
        EXPECT_FALSE(got.ended);
        EXPECT_EQ(got.why.what, outcome::unavailable) << stream;
    }
}

TEST(stream, events_without_data_are_dropped)
{
    attempt one = chat_world(true).start();
    one.head("200 OK\r\nContent-Type: text/event-stream");
    const played got = play(
        one,
        "event: ping\n\n"
        "data:\n\n"
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n"
        "data: [DONE]\n\n"
        "data: {\"choices\":[]}\n\n"
    );
    EXPECT_EQ(got.letters.find_first_not_of("dF"), std::string::npos) << got.letters;
    EXPECT_TRUE(got.letters.ends_with("FFd")) << got.letters << ": nothing comes behind [DONE]";
    EXPECT_TRUE(got.ended);
}

TEST(stream, an_event_too_long_to_be_held_is_content)
{
    attempt one = chat_world(true).start();
    one.head("200 OK\r\nContent-Type: text/event-stream");
    const auto what = one.step(event::sse{.oversize = true});
    ASSERT_TRUE(std::holds_alternative<action::forward>(what));
    EXPECT_TRUE(std::get<action::forward>(what).content);
    EXPECT_EQ(play(one, "data: [DONE]\n\n").letters, "F") << "the stream had content";
}

TEST(stream, only_for_those_who_asked)
{
    attempt one = chat_world(false).start();
    EXPECT_EQ(failed(one.head("200 OK\r\nContent-Type: text/event-stream")).what, outcome::unavailable);

    attempt two = chat_world(true).start();
    const auto how = reading(two.head("200 OK\r\nContent-Type: application/json\r\nContent-Length: 3"));
    EXPECT_EQ(how.how, action::read::as::raw);
    EXPECT_EQ(how.answer.kind, answer_kind::json) << "the dialect renders it as events";
}

TEST(stream, content)
{
    struct row
    {
        std::string_view data;
        bool content;
        std::string_view why;
    };
    for (const row& each : std::vector<row>{
             {R"({"choices":[{"delta":{"role":"assistant"}}]})", false, "a bare role"},
             {R"({"choices":[{"delta":{"role":"assistant","content":""}}]})", false, "OpenAI's bare role"},
             {R"({"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[]}}]})",
              false,
              "SGLang's bare role"},
             {R"({"choices":[{"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"usage":null})",
              false,
              "vLLM's"},
             {R"({"choices":[]})", false, "usage alone, or a content filter's verdict"},
             {R"({"choices":[{"delta":{"content":" "}}]})", true, "a blank is text"},
             {R"({"choices":[{"delta":{"role":"assistant","content":"x"}}]})", true, "role and text at once"},
             {R"({"choices":[{"delta":{"reasoning_content":"hm"}}]})", true, "thoughts are content"},
             {R"({"choices":[{"delta":{"reasoning":"hm"}}]})", true, "by any name"},
             {R"({"choices":[{"delta":{"tool_calls":[{"index":0}]}}]})", true, "a tool call"},
             {R"({"choices":[{"delta":{},"finish_reason":"stop"}]})", true, "an empty answer that ended well"
             },
             {R"({"choices":[{"delta":{},"finish_reason":""}]})", false, "TGI's empty reason is none"},
             {R"({"choices":[{"text":"x","finish_reason":""}]})", true, "completions"},
             {R"({"choices":[{"text":"","finish_reason":null}]})", false, "completions, nothing yet"},
             {R"({"choices":[{"delta":{"role":"assistant"}},{"delta":{"content":"x"}}]})",
              true,
              "the second of two"},
             {R"({"index":1,"token":{"text":"x"}})", true, "TGI's own"},
             {R"({"type":"message_start"})", false, "Anthropic's head"},
             {R"({"type":"content_block_delta"})", true, "Anthropic's text"},
             {"text that is no JSON", true, "unknown: what came is what there is"},
             {R"(["list"])", true, "the same"},
         }) {
        EXPECT_EQ(has_content(each.data), each.content) << each.data << " since: " << each.why;
    }
}

TEST(stream, a_conversation_survives_events_out_of_order)
{
    const world there = chat_world(true);
    attempt one = there.start();
    EXPECT_TRUE(std::holds_alternative<action::fail>(one.step(event::text{"x"})));
    attempt two = there.start();
    EXPECT_TRUE(std::holds_alternative<action::fail>(two.step(event::elapsed{})));
}

} // namespace
} // namespace gw::adapters
