// What the inference toolkit is sent: every pair of the payload as received and the encoding that it takes,
// executed.
#include "support.hpp"

#include "adapters/encode.hpp"

#include <vector>

namespace gw::adapters {
namespace {

using namespace testing;
using config::kind;
using config::payload_form;

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

} // namespace
} // namespace gw::adapters
