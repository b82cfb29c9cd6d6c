// What upstreams are sent: every pair of the payload as received and the encoding that the upstream takes,
// executed.
#include "support.hpp"

#include "adapters/encode.hpp"

#include <array>
#include <vector>

namespace gw::adapters {
namespace {

using namespace testing;
using config::engine;
using config::kind;
using config::payload_form;

const std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1", 24);

std::string image(std::size_t length)
{
    return (png + some_bytes(length)).substr(0, std::max(length, std::size_t{1}));
}

std::string slashes_escaped(std::string_view text)
{
    std::string out;
    for (const char c : text) {
        out += c == '/' ? "\\/" : std::string(1, c);
    }
    return out;
}

// ---- the toolkit ----

TEST(toolkit, raw_stays_raw)
{
    const auto to = upstream(kind::dedicated);
    const auto asked = raw(image(100), "image/png", "image-classification");
    const auto what = sent(asked->asked, at(to, asked->asked));
    EXPECT_EQ(what.method, "POST");
    EXPECT_EQ(what.path, "/");
    EXPECT_EQ(what.content_type, "image/png");
    EXPECT_EQ(what.accept, "application/json");
    EXPECT_EQ(what.fields, "");
    EXPECT_TRUE(what.body.pass_through());
    EXPECT_EQ(execute(what.body, asked->body), asked->body);
    EXPECT_EQ(planned(asked->asked, at(to, asked->asked)), encoding::pass_through);
    EXPECT_TRUE(adapter_for(to).can_stream(asked->asked, at(to, asked->asked)));
}

TEST(toolkit, parameters_of_raw_bytes_go_into_the_query)
{
    const auto to = upstream(kind::dedicated);
    const auto asked =
        raw(image(100),
            "image/png",
            "image-classification",
            R"({"top_k":3,"flag":true,"function_to_apply":"soft max&"})");
    const auto what = sent(asked->asked, at(to, asked->asked));
    EXPECT_EQ(what.path, "/?top_k=3&flag=true&function_to_apply=soft%20max%26");
    EXPECT_TRUE(what.body.pass_through());
}

TEST(toolkit, what_would_change_its_type_in_a_query_does_not_go_there)
{
    const auto to = upstream(kind::dedicated);
    for (const std::string_view parameters : {
             R"({"threshold":0.5})",          // stays text there
             R"({"top_k":-1})",               // stays text there
             R"({"top_k":null})",             //
             R"({"candidate_labels":["a"]})", // no lists
             R"({"generate_kwargs":{}})",     // no objects
             R"({"language":"3"})",           // would become a number
             R"({"language":"True"})",        // would become a flag
             R"({"language":""})",            // reads like no digits at all
         }) {
        const auto asked = raw(image(100), "image/png", "image-classification", std::string(parameters));
        const auto what = sent(asked->asked, at(to, asked->asked));
        EXPECT_EQ(what.path, "/") << parameters;
        EXPECT_EQ(what.content_type, "application/json");
        EXPECT_EQ(
            execute(what.body, asked->body),
            R"({"inputs":")" + payloads::encode_base64(asked->body) + R"(","parameters":)" +
                std::string(parameters) + "}"
        );
        EXPECT_EQ(planned(asked->asked, at(to, asked->asked)), encoding::base64_json);
        EXPECT_TRUE(adapter_for(to).can_stream(asked->asked, at(to, asked->asked)))
            << "sized before a byte has arrived";
    }
}

TEST(toolkit, spellings_of_its_table_only)
{
    const auto to = upstream(kind::dedicated);
    struct row
    {
        std::string_view type;
        std::string_view task;
        std::string_view sent;
    };
    for (const row& each : std::vector<row>{
             {"image/jpeg", "image-classification", "image/jpeg"},
             {"image/webp", "image-classification", "image/webp"},
             {"audio/flac", "automatic-speech-recognition", "audio/flac"},
             {"audio/AMR-WB", "automatic-speech-recognition", "audio/AMR-WB"},
             {"audio/m4a", "automatic-speech-recognition", "audio/m4a"},
             {"image/heic", "image-classification", "application/json"}, // not in its table
             {"video/mp4", "image-classification", "application/json"},
             {"", "image-classification", "application/json"}, // one to three bytes cannot be sniffed
         }) {
        const auto asked = raw(some_bytes(9), std::string(each.type), each.task);
        const auto what = sent(asked->asked, at(to, asked->asked));
        EXPECT_EQ(what.content_type, each.sent) << each.type;
        if (each.sent == "application/json") {
            EXPECT_EQ(
                execute(what.body, asked->body),
                R"({"inputs":")" + payloads::encode_base64(asked->body) + R"(","parameters":{}})"
            );
        }
    }
    // canonical() speaks this table's language
    for (const std::string_view type :
         {"audio/mp3", "audio/mp4", "image/jpg", "audio/x-wav", "audio/amr", "audio/amr-wb", "AUDIO/WAV"}) {
        const auto asked = raw(some_bytes(9), payloads::canonical(type), "automatic-speech-recognition");
        EXPECT_NE(sent(asked->asked, at(to, asked->asked)).content_type, "application/json") << type;
    }
}

TEST(toolkit, base64_json_passes_untouched)
{
    const auto to = upstream(kind::dedicated);
    const std::string text = payloads::encode_base64(image(100));
    for (const std::string& body : {
             R"({"inputs":")" + text + R"("})",
             R"({"parameters":{"top_k":2}, "inputs" : ")" + text + R"("})",
             R"({"inputs":"data:image/png;base64,)" + text + R"("})", // images may keep it
             R"({"inputs":")" + slashes_escaped(text) + R"("})",
         }) {
        const auto asked = json(body, "image-classification");
        const auto what = sent(asked->asked, at(to, asked->asked));
        EXPECT_TRUE(what.body.pass_through()) << body;
        EXPECT_EQ(execute(what.body, asked->body), body);
        EXPECT_EQ(what.content_type, "application/json") << "exactly: a charset in lower case is a 400";
        EXPECT_FALSE(adapter_for(to).can_stream(asked->asked, at(to, asked->asked)));
    }
}

TEST(toolkit, base64_audio_needs_parameters_and_no_prefix)
{
    const auto to = upstream(kind::dedicated);
    const std::string wav = std::string("RIFF\x24\0\0\0WAVEfmt ", 16) + some_bytes(50);
    const std::string text = payloads::encode_base64(wav);
    struct row
    {
        std::string body;
        bool passes;
    };
    for (const row& each : std::vector<row>{
             {R"({"inputs":")" + text + R"("})", false}, // would be taken for a file name
             {R"({"inputs":")" + text + R"(","parameters":{}})", true},
             {R"({"inputs":"data:audio/wav;base64,)" + text + R"(","parameters":{}})", false
             }, // its decoder is strict
         }) {
        const auto asked = json(each.body, "automatic-speech-recognition");
        const auto what = sent(asked->asked, at(to, asked->asked));
        EXPECT_EQ(what.body.pass_through(), each.passes) << each.body;
        if (!each.passes) {
            EXPECT_EQ(execute(what.body, asked->body), wav) << "bytes are smaller, and it takes them";
            EXPECT_TRUE(what.content_type == "audio/wav") << what.content_type;
        }
    }
}

TEST(toolkit, the_native_object_becomes_bytes)
{
    const auto to = upstream(kind::dedicated);
    const std::string bytes = image(77);
    const std::string text = payloads::encode_base64(bytes);
    const auto asked = json(
        R"({"model":"org/name","inputs":{"base64":")" + text +
            R"(","media_type":"image/png"},"parameters":{"top_k":1}})",
        "image-classification",
        door::native_inference
    );
    const auto what = sent(asked->asked, at(to, asked->asked));
    EXPECT_EQ(what.path, "/?top_k=1");
    EXPECT_EQ(what.content_type, "image/png");
    EXPECT_EQ(execute(what.body, asked->body), bytes);
    EXPECT_EQ(planned(asked->asked, at(to, asked->asked)), encoding::binary);

    // with a parameter that has no place in a query: base64 JSON of the toolkit's own shape
    const auto nested = json(
        R"({"model":"org/name","parameters":{"a":{"b":0.50}},"inputs":{"media_type":"image/png","base64":")" +
            text + R"("}})",
        "image-classification",
        door::native_inference
    );
    EXPECT_EQ(
        execute(sent(nested->asked, at(to, nested->asked)).body, nested->body),
        R"({"inputs":")" + text + R"(","parameters":{"a":{"b":0.50}}})"
    );
}

TEST(toolkit, an_older_clients_key_becomes_inputs)
{
    auto to = upstream(kind::dedicated);
    to.payload = payload_form::base64;
    const std::string text = payloads::encode_base64(image(50));
    const auto asked = json(R"({"image":")" + text + R"("})", "image-classification");
    EXPECT_EQ(
        execute(sent(asked->asked, at(to, asked->asked)).body, asked->body),
        R"({"inputs":")" + text + R"(","parameters":{}})"
    );
}

TEST(toolkit, the_payload_setting_is_obeyed)
{
    auto to = upstream(kind::dedicated);
    const std::string bytes = image(60);
    const std::string text = payloads::encode_base64(bytes);
    const auto binary = raw(bytes, "image/png", "image-classification");
    const auto base64 = json(R"({"inputs":")" + text + R"("})", "image-classification");

    to.payload = payload_form::base64;
    EXPECT_EQ(
        execute(sent(binary->asked, at(to, binary->asked)).body, binary->body),
        R"({"inputs":")" + text + R"(","parameters":{}})"
    );
    EXPECT_TRUE(sent(base64->asked, at(to, base64->asked)).body.pass_through());

    to.payload = payload_form::binary;
    EXPECT_TRUE(sent(binary->asked, at(to, binary->asked)).body.pass_through());
    EXPECT_EQ(execute(sent(base64->asked, at(to, base64->asked)).body, base64->body), bytes);
    EXPECT_EQ(planned(base64->asked, at(to, base64->asked)), encoding::binary);
}

TEST(toolkit, a_question_travels_inside_inputs)
{
    const auto to = upstream(kind::dedicated);
    const std::string bytes = image(40);
    const std::string text = payloads::encode_base64(bytes);
    const std::string wanted =
        R"({"inputs":{"image":")" + text + R"(","question":"what?"},"parameters":{"top_k":2}})";

    const auto query =
        raw(bytes, "image/png", "visual-question-answering", R"({"question":"what?","top_k":2})");
    EXPECT_EQ(execute(sent(query->asked, at(to, query->asked)).body, query->body), wanted)
        << "from the query";

    const auto root = json(
        R"({"inputs":")" + text + R"(","parameters":{"top_k":2},"question":"what?","image":")" + text +
            R"("})",
        "visual-question-answering"
    );
    EXPECT_EQ(execute(sent(root->asked, at(to, root->asked)).body, root->body), wanted)
        << "huggingface_hub puts it at the root";

    const std::string own = R"({"inputs":{"question":"what?","image":")" + text + R"("}})";
    const auto object = json(own, "visual-question-answering");
    EXPECT_EQ(execute(sent(object->asked, at(to, object->asked)).body, object->body), own)
        << "its own shape passes";
}

TEST(toolkit, text_passes_untouched)
{
    const auto to = upstream(kind::dedicated);
    for (const std::string_view body : {
             R"({"inputs":"I like you", "parameters":{}})",
             R"({"inputs":{"question":"q","context":"c"}})",
             R"({"inputs":"x","normalize":true,"number":123456789012345678901234567890.10})",
         }) {
        const auto asked = json(std::string(body), "text-classification");
        const auto what = sent(asked->asked, at(to, asked->asked));
        EXPECT_TRUE(what.body.pass_through());
        EXPECT_EQ(what.content_type, "application/json");
    }
    const auto own = json(R"({"inputs":"x","model":"a handler's own"})", "text-classification");
    EXPECT_TRUE(sent(own->asked, at(to, own->asked)).body.pass_through()) << "the path named the model";
    const auto native =
        json(R"({"model":"alias","inputs":"x"})", "text-classification", door::native_inference);
    EXPECT_EQ(
        execute(sent(native->asked, at(to, native->asked)).body, native->body),
        R"({"model":"org/name","inputs":"x"})"
    );
    const auto url = json(R"({"inputs":"https://example.com/cat.png"})", "image-classification");
    EXPECT_TRUE(sent(url->asked, at(to, url->asked)).body.pass_through()) << "an address travels as it is";
}

TEST(toolkit, images_are_asked_for_by_one_exact_type)
{
    const auto to = upstream(kind::dedicated);
    const auto asked = json(R"({"inputs":"a cat"})", "text-to-image");
    EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).accept, "image/png");
    asked->asked.accept = "image/webp, image/png;q=0.5";
    EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).accept, "image/webp");
    asked->asked.accept = "image/jpg";
    EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).accept, "image/jpeg")
        << "image/jpg is no format it knows";
    asked->asked.accept = "image/avif,*/*;q=0.8";
    EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).accept, "image/png");
    asked->asked.accepts_binary = false;
    EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).accept, "application/json");
}

TEST(toolkit, refusals)
{
    const auto to = upstream(kind::dedicated);
    const auto text = raw("hello", "text/plain", "text-classification");
    EXPECT_EQ(refused(text->asked, at(to, text->asked)).what, code::wrong_modality);
    const auto chat = json(R"({"messages":[]})", "chat-completion", door::openai_chat);
    const failure why = refused(chat->asked, at(to, chat->asked));
    EXPECT_EQ(why.what, code::unsupported);
    EXPECT_TRUE(why.text.contains("engine: openai")) << why.text;
}

TEST(toolkit, an_unknown_task_passes_or_says_where_to_name_it)
{
    const auto to = upstream(kind::dedicated);
    const auto typed = raw(image(30), "image/png", "");
    EXPECT_TRUE(sent(typed->asked, at(to, typed->asked)).body.pass_through());
    const auto plain = json(R"({"anything":1})", "");
    EXPECT_TRUE(sent(plain->asked, at(to, plain->asked)).body.pass_through());
    const auto base64 = json(R"({"inputs":")" + payloads::encode_base64(image(30)) + R"("})", "");
    EXPECT_TRUE(sent(base64->asked, at(to, base64->asked)).body.pass_through());

    const auto untyped = raw("abc", "", "");
    const auto native = json(
        R"({"inputs":{"base64":")" + payloads::encode_base64(image(30)) + R"("}})", "", door::native_inference
    );
    for (const auto* each : {&untyped, &native}) {
        const failure why = refused((*each)->asked, at(to, (*each)->asked));
        EXPECT_EQ(why.what, code::unknown_task);
        EXPECT_TRUE(why.text.contains("task:")) << why.text;
    }
}

TEST(toolkit, paths)
{
    auto to = upstream(kind::local);
    const auto asked = json(R"({"inputs":"x"})", "text-classification");
    EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).path, "/");
    to.at.base_path = "/prefix";
    EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).path, "/prefix");
    to.path = "/predict";
    EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).path, "/prefix/predict");
}

// ---- the router ----

TEST(router, task_paths)
{
    const auto to = upstream(kind::serverless);
    struct row
    {
        std::string_view model;
        std::string_view task;
        std::string_view path;
    };
    for (const row& each : std::vector<row>{
             {"google/vit-base", "text-classification", "/hf-inference/models/google/vit-base"},
             {"gpt2", "text-generation", "/hf-inference/models/gpt2"},
             {"org/m", "feature-extraction", "/hf-inference/models/org/m/pipeline/feature-extraction"},
             {"org/m", "sentence-similarity", "/hf-inference/models/org/m/pipeline/sentence-similarity"},
             {"org/m:hf-inference", "fill-mask", "/hf-inference/models/org/m"},
             {"o rg/m?x", "fill-mask", "/hf-inference/models/o%20rg/m%3Fx"},
             {"org/a/b", "fill-mask", "/hf-inference/models/org/a/b"},
         }) {
        const auto asked = json(R"({"inputs":"x"})", each.task);
        EXPECT_EQ(sent(asked->asked, at(to, asked->asked, std::string(each.model))).path, each.path);
    }
    auto mirror = to;
    mirror.at.base_path = "/mirror";
    const auto asked = json(R"({"inputs":"x"})", "fill-mask");
    EXPECT_EQ(sent(asked->asked, at(mirror, asked->asked)).path, "/mirror/hf-inference/models/org/name");
}

TEST(router, bytes_without_parameters_base64_with)
{
    const auto to = upstream(kind::serverless);
    const std::string bytes = image(99);
    const auto bare = raw(bytes, "image/png", "image-classification");
    const auto first = sent(bare->asked, at(to, bare->asked));
    EXPECT_TRUE(first.body.pass_through());
    EXPECT_EQ(first.content_type, "image/png");

    const auto with = raw(bytes, "image/png", "image-classification", R"({"top_k":3})");
    const auto second = sent(with->asked, at(to, with->asked));
    EXPECT_EQ(second.path, "/hf-inference/models/org/name") << "no query";
    EXPECT_EQ(second.content_type, "application/json");
    EXPECT_EQ(
        execute(second.body, with->body),
        R"({"inputs":")" + payloads::encode_base64(bytes) + R"(","parameters":{"top_k":3}})"
    );
    EXPECT_TRUE(adapter_for(to).can_stream(with->asked, at(to, with->asked)));

    const auto untyped = raw("ab", "", "image-classification");
    const auto third = sent(untyped->asked, at(to, untyped->asked));
    EXPECT_TRUE(third.body.pass_through());
    EXPECT_EQ(third.content_type, "") << "it sniffs, as for its own clients";
}

TEST(router, base64_json)
{
    const auto to = upstream(kind::serverless);
    const std::string bytes = image(99);
    const std::string text = payloads::encode_base64(bytes);
    const std::string plain = R"({"inputs":")" + text + R"("})";
    const auto passes = json(plain, "image-classification");
    EXPECT_TRUE(sent(passes->asked, at(to, passes->asked)).body.pass_through());

    const auto prefixed =
        json(R"({"inputs":"data:image/png;base64,)" + text + R"("})", "image-classification");
    EXPECT_EQ(execute(sent(prefixed->asked, at(to, prefixed->asked)).body, prefixed->body), bytes)
        << "its clients never send a data URL";

    const std::string python =
        R"({"inputs":")" + text + R"(","parameters":{},"question":"q","image":")" + text + R"("})";
    const auto vqa = json(python, "visual-question-answering");
    EXPECT_EQ(execute(sent(vqa->asked, at(to, vqa->asked)).body, vqa->body), python)
        << "what huggingface_hub sends it";

    const std::string js = R"({"inputs":{"question":"q","image":")" + text + R"("}})";
    const auto doc = json(js, "document-question-answering");
    EXPECT_EQ(execute(sent(doc->asked, at(to, doc->asked)).body, doc->body), js);

    const auto zero = json(
        R"({"inputs":{"image":")" + text + R"("},"parameters":{"candidate_labels":["a"]}})",
        "zero-shot-image-classification"
    );
    EXPECT_EQ(
        execute(sent(zero->asked, at(to, zero->asked)).body, zero->body),
        R"({"inputs":")" + text + R"(","parameters":{"candidate_labels":["a"]}})"
    );
}

TEST(router, who_pays)
{
    const auto to = upstream(kind::serverless);
    const auto asked = json(R"({"inputs":"x"})", "fill-mask");
    config::token token;
    auto there = at(to, asked->asked);
    there.with = &token;
    EXPECT_EQ(sent(asked->asked, there).fields, "");
    token.bill_to = "acme";
    EXPECT_EQ(sent(asked->asked, there).fields, "X-HF-Bill-To: acme\r\n");
    token.bill_to = "acme\r\nX-Evil: 1";
    EXPECT_EQ(sent(asked->asked, there).fields, "") << "never a header of somebody else's making";

    token.bill_to = "acme";
    const auto chat = json(R"({"model":"org/name","messages":[]})", "chat-completion", door::openai_chat);
    auto chat_there = at(to, chat->asked);
    chat_there.with = &token;
    EXPECT_EQ(sent(chat->asked, chat_there).fields, "X-HF-Bill-To: acme\r\n");
}

TEST(router, accept)
{
    const auto to = upstream(kind::serverless);
    for (const auto& [task, accept] : std::vector<std::pair<std::string_view, std::string_view>>{
             {"text-to-image", "image/png"},
             {"fill-mask", "application/json"},
             {"text-to-speech", ""},
             {"", ""}
         }) {
        const auto asked = json(R"({"inputs":"x"})", task);
        EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).accept, accept) << task;
    }
}

TEST(router, the_suffix_stays_in_chats)
{
    const auto to = upstream(kind::serverless);
    const auto asked =
        json(R"({"model":"alias:together","messages":[]})", "chat-completion", door::openai_chat);
    auto there = at(to, asked->asked, "org/name");
    there.provider = "together";
    EXPECT_EQ(
        execute(sent(asked->asked, there).body, asked->body), R"({"model":"org/name:together","messages":[]})"
    );
    there.model = "org/name:fastest";
    EXPECT_EQ(
        execute(sent(asked->asked, there).body, asked->body), R"({"model":"org/name:fastest","messages":[]})"
    );
    EXPECT_EQ(sent(asked->asked, there).path, "/v1/chat/completions");
}

// ---- chats ----

TEST(chat, untouched_when_the_name_is_the_same)
{
    const auto to = upstream(kind::dedicated, engine::openai);
    for (const std::string_view body : {
             R"({"model":"org/name","messages":[{"role":"user","content":"hi"}],"stream":true})",
             R"({ "messages":[] , "model" : "org\/name" })",
         }) {
        const auto asked = json(std::string(body), "chat-completion", door::openai_chat);
        const auto what = sent(asked->asked, at(to, asked->asked));
        EXPECT_TRUE(what.body.pass_through()) << body;
        EXPECT_EQ(what.path, "/v1/chat/completions");
        EXPECT_EQ(planned(asked->asked, at(to, asked->asked)), encoding::pass_through);
    }
}

TEST(chat, the_name_is_replaced_in_place)
{
    const auto to = upstream(kind::local, engine::openai);
    struct row
    {
        std::string_view body;
        std::string_view sent;
    };
    for (const row& each : std::vector<row>{
             {R"({"model":"dummy","messages":[]})", R"({"model":"org/name","messages":[]})"},
             {R"({"messages":[ ], "model" : "tgi" })", R"({"messages":[ ], "model" : "org/name" })"},
             {R"({"messages":[],"model":null})", R"({"messages":[],"model":"org/name"})"},
             {R"({"messages":[]})", R"({"messages":[],"model":"org/name"})"},
             {R"( {"messages":[{"a":"}"}] } )", R"( {"messages":[{"a":"}"}],"model":"org/name" } )"},
         }) {
        const auto asked = json(std::string(each.body), "chat-completion", door::hf_chat);
        const auto what = sent(asked->asked, at(to, asked->asked));
        EXPECT_EQ(execute(what.body, asked->body, 3), each.sent);
        EXPECT_EQ(planned(asked->asked, at(to, asked->asked)), encoding::json);
    }
}

TEST(chat, response_format_of_tgi_becomes_openais)
{
    const auto to = upstream(kind::serverless);
    const auto asked = json(
        R"({"response_format":{"type":"json_object","value":{"type":"object","maximum":1e400}},"model":"x","messages":[]})",
        "chat-completion",
        door::openai_chat
    );
    EXPECT_EQ(
        execute(sent(asked->asked, at(to, asked->asked)).body, asked->body),
        R"({"response_format":{"type":"json_schema","json_schema":{"name":"response","schema":{"type":"object","maximum":1e400}}},"model":"org/name","messages":[]})"
    );
    for (const std::string_view format : {
             R"({"type":"json_object"})",
             R"({"type":"json_schema","json_schema":{"name":"n","schema":{}}})",
             R"({"type":"text"})",
             R"({"type":"json_object","value":"text"})",
             R"("json")",
         }) {
        const std::string body =
            R"({"model":"org/name","messages":[],"response_format":)" + std::string(format) + "}";
        const auto same = json(body, "chat-completion", door::openai_chat);
        EXPECT_TRUE(sent(same->asked, at(to, same->asked)).body.pass_through()) << format;
    }
}

TEST(chat, long_messages_stay_ranges)
{
    const auto to = upstream(kind::dedicated, engine::openai);
    const std::string picture = payloads::encode_base64(some_bytes(200'000));
    const std::string messages =
        R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,)" +
        picture + R"("}}]}])";
    const auto asked =
        json(R"({"model":"alias","messages":)" + messages + "}", "chat-completion", door::openai_chat);
    const auto what = sent(asked->asked, at(to, asked->asked));
    ASSERT_EQ(what.body.pieces.size(), 3U);
    EXPECT_LT(what.body.pieces[1].text.size(), 20U) << "nothing of the picture is copied";
    EXPECT_EQ(execute(what.body, asked->body), R"({"model":"org/name","messages":)" + messages + "}");
}

TEST(chat, streams_have_their_own_limit_and_accept)
{
    const auto to = upstream(kind::dedicated, engine::openai);
    const auto stream =
        json(R"({"model":"m","messages":[],"stream":true})", "chat-completion", door::openai_chat);
    EXPECT_TRUE(sent(stream->asked, at(to, stream->asked)).expects_stream);
    EXPECT_EQ(sent(stream->asked, at(to, stream->asked)).accept, "text/event-stream");
    const auto plain = json(R"({"model":"m","messages":[]})", "chat-completion", door::openai_chat);
    EXPECT_FALSE(sent(plain->asked, at(to, plain->asked)).expects_stream);
    EXPECT_EQ(sent(plain->asked, at(to, plain->asked)).accept, "application/json");
}

TEST(chat, paths)
{
    auto to = upstream(kind::dedicated, engine::openai);
    const auto asked = json(R"({"model":"m","messages":[]})", "chat-completion", door::openai_chat);
    for (const auto& [base, path] : std::vector<std::pair<std::string, std::string>>{
             {"", "/v1/chat/completions"},
             {"/v1", "/v1/chat/completions"},
             {"/api", "/api/v1/chat/completions"},
             {"/openai/v1", "/openai/v1/chat/completions"},
             {"/x/chat/completions", "/x/chat/completions"},
         }) {
        to.at.base_path = base;
        EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).path, path);
    }
    to.at.base_path = "/api";
    to.path = "/paas/v4/chat/completions";
    EXPECT_EQ(sent(asked->asked, at(to, asked->asked)).path, "/api/paas/v4/chat/completions");
}

TEST(chat, made_of_inputs)
{
    const auto to = upstream(kind::dedicated, engine::openai);
    const auto text = json(
        R"({"model":"m","inputs":"hi \"you\"","parameters":{"max_tokens":5,"model":"evil"},"stream":true})",
        "chat-completion",
        door::native_inference
    );
    EXPECT_EQ(
        execute(sent(text->asked, at(to, text->asked)).body, text->body),
        R"({"model":"org/name","messages":[{"role":"user","content":"hi \"you\""}],"max_tokens":5,"stream":true})"
    );
    const auto list =
        json(R"({"inputs":[{"role":"user","content":"x"}]})", "chat-completion", door::native_inference);
    EXPECT_EQ(
        execute(sent(list->asked, at(to, list->asked)).body, list->body),
        R"({"model":"org/name","messages":[{"role":"user","content":"x"}]})"
    );
    const auto number = json(R"({"inputs":5})", "chat-completion", door::native_inference);
    EXPECT_EQ(refused(number->asked, at(to, number->asked)).what, code::wrong_modality);
    const auto bytes = raw("x", "image/png", "chat-completion");
    EXPECT_EQ(refused(bytes->asked, at(to, bytes->asked)).what, code::wrong_modality);
}

TEST(chat, engine_openai_says_who_takes_other_tasks)
{
    const auto to = upstream(kind::dedicated, engine::openai);
    const auto asked = raw(image(20), "image/png", "image-to-text");
    const failure why = refused(asked->asked, at(to, asked->asked));
    EXPECT_EQ(why.what, code::unsupported);
    EXPECT_TRUE(why.text.contains("image-to-text") && why.text.contains("toolkit")) << why.text;
    const auto unknown = json(R"({"inputs":"x"})", "");
    EXPECT_EQ(refused(unknown->asked, at(to, unknown->asked)).what, code::unknown_task);
}

// ---- the operator's own body ----

config::upstream with_template(std::vector<config::template_part> parts)
{
    auto to = upstream(kind::dedicated, engine::custom);
    to.request = std::move(parts);
    return to;
}

using what = config::template_part::what;

TEST(custom, any_key)
{
    const auto to = with_template({
        {what::literal, R"({"image":)"},
        {what::base64, ""},
        {what::literal, R"(,"options":)"},
        {what::parameters, ""},
        {what::literal, R"(,"name":)"},
        {what::model, ""},
        {what::literal, "}"},
    });
    const std::string bytes = image(123);
    const std::string text = payloads::encode_base64(bytes);
    const auto binary = raw(bytes, "image/png", "image-classification", R"({"k":0.5})");
    const auto from_raw = sent(binary->asked, at(to, binary->asked));
    EXPECT_EQ(
        execute(from_raw.body, binary->body),
        R"({"image":")" + text + R"(","options":{"k":0.5},"name":"org/name"})"
    );
    EXPECT_EQ(from_raw.content_type, "application/json");
    EXPECT_EQ(planned(binary->asked, at(to, binary->asked)), encoding::custom_template);
    EXPECT_TRUE(adapter_for(to).can_stream(binary->asked, at(to, binary->asked)));

    const auto base64 = json(
        R"({"inputs":"data:image/png;base64,)" + slashes_escaped(text) + R"("})", "image-classification"
    );
    EXPECT_EQ(
        execute(sent(base64->asked, at(to, base64->asked)).body, base64->body),
        R"({"image":")" + slashes_escaped(text) + R"(","options":{},"name":"org/name"})"
    );
}

TEST(custom, data_urls)
{
    const auto to =
        with_template({{what::literal, R"({"url":)"}, {what::data_url, ""}, {what::literal, "}"}});
    const std::string text = payloads::encode_base64(image(50));
    const auto typed = raw(image(50), "image/png", "image-classification");
    EXPECT_EQ(
        execute(sent(typed->asked, at(to, typed->asked)).body, typed->body),
        R"({"url":"data:image/png;base64,)" + text + R"("})"
    );
    const auto untyped = raw("abc", "", "image-classification");
    EXPECT_EQ(
        execute(sent(untyped->asked, at(to, untyped->asked)).body, untyped->body),
        R"({"url":"data:application/octet-stream;base64,YWJj"})"
    );
}

TEST(custom, inputs)
{
    const auto to = with_template({{what::literal, R"({"q":)"}, {what::inputs, ""}, {what::literal, "}"}});
    const auto object =
        json(R"({"parameters":{"a":1},"inputs":{"question":"x", "n":1e400}})", "question-answering");
    EXPECT_EQ(
        execute(sent(object->asked, at(to, object->asked)).body, object->body),
        R"({"q":{"question":"x", "n":1e400}})"
    );
    const auto native = json(
        R"({"inputs":{"base64":")" + payloads::encode_base64(image(9)) + R"("}})",
        "image-classification",
        door::native_inference
    );
    EXPECT_EQ(
        execute(sent(native->asked, at(to, native->asked)).body, native->body),
        R"({"q":")" + payloads::encode_base64(image(9)) + R"("})"
    );
    const auto none = json(R"({"table":{}})", "tabular-classification");
    EXPECT_EQ(refused(none->asked, at(to, none->asked)).what, code::invalid_json);
}

TEST(custom, without_a_template_what_handlers_expect)
{
    const auto to = with_template({});
    const auto text = json(R"({"inputs":"x","parameters":{"a":1}})", "text-classification");
    EXPECT_EQ(
        execute(sent(text->asked, at(to, text->asked)).body, text->body),
        R"({"inputs":"x","parameters":{"a":1}})"
    );
    const auto binary = raw("abc", "image/png", "image-classification");
    EXPECT_EQ(
        execute(sent(binary->asked, at(to, binary->asked)).body, binary->body),
        R"({"inputs":"YWJj","parameters":{}})"
    );
}

TEST(custom, refusals)
{
    const auto to = with_template({{what::base64, ""}});
    const auto text = json(R"({"inputs":"hello"})", "text-classification");
    const failure why = refused(text->asked, at(to, text->asked));
    EXPECT_EQ(why.what, code::wrong_modality);
    EXPECT_TRUE(why.text.contains("$base64"));
    const auto chat = json(R"({"messages":[]})", "chat-completion", door::openai_chat);
    EXPECT_EQ(refused(chat->asked, at(to, chat->asked)).what, code::unsupported);
}

TEST(custom, the_payload_twice_waits_for_the_whole_body)
{
    const auto to = with_template(
        {{what::literal, "["},
         {what::base64, ""},
         {what::literal, ","},
         {what::base64, ""},
         {what::literal, "]"}}
    );
    const auto binary = raw("abc", "image/png", "image-classification");
    EXPECT_EQ(execute(sent(binary->asked, at(to, binary->asked)).body, binary->body), R"(["YWJj","YWJj"])");
    EXPECT_FALSE(adapter_for(to).can_stream(binary->asked, at(to, binary->asked)));
}

// ---- kinds and engines ----

TEST(registry, what_is_not_spoken_says_so)
{
    const auto asked = json(R"({"inputs":"x"})", "fill-mask");
    for (const auto& to :
         {upstream(kind::space),
          upstream(kind::dedicated, engine::tgi),
          upstream(kind::dedicated, engine::tei),
          upstream(kind::local, engine::tgi)}) {
        const failure why = refused(asked->asked, at(to, asked->asked));
        EXPECT_EQ(why.what, code::unsupported);
        EXPECT_TRUE(why.text.contains("there")) << why.text;
        EXPECT_FALSE(adapter_for(to).can_stream(asked->asked, at(to, asked->asked)));
    }
}

TEST(registry, local_is_the_same_engine_elsewhere)
{
    for (const engine each : {engine::toolkit, engine::custom, engine::openai}) {
        EXPECT_EQ(&adapter_for(upstream(kind::local, each)), &adapter_for(upstream(kind::dedicated, each)));
    }
}

// ---- bytes ----

TEST(bytes, identical_for_every_length)
{
    const auto toolkit = upstream(kind::dedicated);
    auto base64_only = toolkit;
    base64_only.payload = payload_form::base64;
    auto binary_only = toolkit;
    binary_only.payload = payload_form::binary;
    const auto templated =
        with_template({{what::literal, R"({"x":{"y":)"}, {what::base64, ""}, {what::literal, "}}"}});

    std::vector<std::size_t> lengths;
    for (std::size_t length = 0; length <= 300; ++length) {
        lengths.push_back(length);
    }
    for (const std::size_t edge : {4096U, 16384U, 65536U}) {
        for (const std::size_t each :
             {edge - 2, edge - 1, edge, edge + 1, edge + 2, edge / 4 * 3 - 1, edge / 4 * 3, edge / 4 * 3 + 1
             }) {
            lengths.push_back(each);
        }
    }
    for (const std::size_t length : lengths) {
        const std::string bytes = some_bytes(length);
        const std::size_t split = length % 7 + 1;
        const auto first = raw(bytes, "image/png", "image-classification");

        // untouched
        EXPECT_EQ(execute(sent(first->asked, at(toolkit, first->asked)).body, first->body, split), bytes);

        // binary -> base64 JSON -> binary through two gateways
        const std::string middle =
            execute(sent(first->asked, at(base64_only, first->asked)).body, first->body, split);
        const auto value = wire::find_value(middle, "/inputs");
        ASSERT_TRUE(value);
        EXPECT_EQ(
            wire::string_of(middle.substr(value->begin, value->size())), payloads::encode_base64(bytes)
        );
        if (length == 0) {
            continue; // an empty string is no payload in JSON
        }
        auto second = json(middle, "image-classification");
        ASSERT_TRUE(second->asked.binary) << length;
        second->asked.binary->media_type = "image/png"; // these bytes have no type of their own
        EXPECT_EQ(
            execute(sent(second->asked, at(binary_only, second->asked)).body, second->body, split), bytes
        );

        // into a template and out of it, slashes escaped on the way
        const std::string wrapped =
            execute(sent(first->asked, at(templated, first->asked)).body, first->body, split);
        const auto inner = wire::find_value(wrapped, "/x/y");
        ASSERT_TRUE(inner);
        auto third = json(
            R"({"inputs":)" + slashes_escaped(wrapped.substr(inner->begin, inner->size())) + "}",
            "image-classification"
        );
        ASSERT_TRUE(third->asked.binary) << length;
        third->asked.binary->media_type = "image/png";
        EXPECT_EQ(execute(sent(third->asked, at(binary_only, third->asked)).body, third->body, split), bytes);
    }
}

TEST(bytes, a_long_payload_is_never_held)
{
    const auto to = upstream(kind::dedicated);
    const std::string bytes = image(300'000);
    const auto asked = json(
        R"({"inputs":{"base64":")" + payloads::encode_base64(bytes) +
            R"(","media_type":"image/png"},"parameters":{"t":0.5}})",
        "image-classification",
        door::native_inference
    );
    const auto what = sent(asked->asked, at(to, asked->asked));
    std::size_t held = 0;
    for (const piece& each : what.body.pieces) {
        held += each.text.size();
    }
    EXPECT_LT(held, 100U);
    const std::string out = execute(what.body, asked->body, 1000);
    EXPECT_EQ(out, R"({"inputs":")" + payloads::encode_base64(bytes) + R"(","parameters":{"t":0.5}})");
}

TEST(bytes, parameters_too_long_to_be_held_stay_a_range)
{
    const auto to = upstream(kind::dedicated);
    const std::string text = payloads::encode_base64(image(50));
    const std::string huge = R"({"mask":")" + std::string(500, 'x') + R"("})";
    for (const bool first : {true, false}) {
        const std::string parameters = R"("parameters":)" + huge;
        const std::string inputs = R"("inputs":{"base64":")" + text + R"("})";
        const auto asked = json(
            "{" + (first ? parameters + "," + inputs : inputs + "," + parameters) + "}",
            "image-classification",
            door::hf_task,
            256
        );
        ASSERT_TRUE(find_member(asked->asked, "parameters")->text.empty());
        const auto what = sent(asked->asked, at(to, asked->asked));
        const std::string plain = R"("inputs":")" + text + "\"";
        EXPECT_EQ(
            execute(what.body, asked->body),
            "{" + (first ? parameters + "," + plain : plain + "," + parameters) + "}"
        );
        std::uint64_t last = 0;
        for (const piece& each : what.body.pieces) {
            EXPECT_TRUE(each.what == piece::how::literal || each.from.begin >= last) << "ranges ascend";
            last = std::max(last, each.from.end);
        }
    }
}

TEST(query, members)
{
    EXPECT_EQ(query_of("{}"), "");
    EXPECT_EQ(query_of(R"({"a":1})"), "a=1");
    EXPECT_EQ(query_of(R"({"a b":"c=d/é"})"), "a%20b=c%3Dd%2F%C3%A9");
    EXPECT_EQ(query_of(R"({"a":"x","b":false})"), "a=x&b=false");
    EXPECT_EQ(query_of("[]"), std::nullopt);
    EXPECT_EQ(query_of(""), std::nullopt);
}

} // namespace
} // namespace gw::adapters
