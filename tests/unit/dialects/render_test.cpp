#include "support.hpp"

#include "payload/tasks.hpp"

namespace gw::dialects {
namespace {

using how = rendering::how;
using answer_is = dialect::answer_is;

std::string_view name_of(how value)
{
    switch (value) {
    case how::as_is:
        return "as_is";
    case how::base64_json:
        return "base64_json";
    case how::reworded:
        return "reworded";
    case how::events:
        return "events";
    case how::chunked_events:
        return "chunked_events";
    }
    return "?";
}

struct accept_row
{
    std::string_view accept;
    how native;
    how huggingface;
};

// A picture's bytes, by what the client accepts.
const accept_row picture_rows[] = {
    {"", how::as_is, how::as_is},
    {"*/*", how::as_is, how::as_is},
    {"image/png", how::as_is, how::as_is}, // huggingface_hub: a wish, the true type is told
    {"image/*", how::as_is, how::as_is},
    {"audio/wav", how::as_is, how::as_is}, // neither: bytes are the honest answer
    {"text/html", how::as_is, how::as_is},
    {"application/octet-stream", how::as_is, how::as_is},
    {"application/json", how::base64_json, how::base64_json},
    {"application/json; charset=utf-8", how::base64_json, how::base64_json},
    {"application/*", how::base64_json, how::base64_json},
    {"application/json, text/event-stream", how::base64_json, how::base64_json},
    {"application/json, image/*;q=0", how::base64_json, how::base64_json},
    {"application/json, text/plain, */*", how::as_is, how::as_is},
    {"application/json, image/png", how::as_is, how::as_is},
    {"application/json;q=0.5, image/png", how::as_is, how::as_is},
    {"application/json;q=0, */*", how::as_is, how::as_is},
    {"application/json, */*;q=0.1", how::base64_json, how::as_is}, // a wish for JSON
    {"application/json, image/png;q=0.9", how::base64_json, how::as_is},
    {"nonsense", how::as_is, how::as_is},
};

TEST(render, a_picture_goes_out_as_the_client_accepts_it)
{
    const auto body = sample_body::json(R"({"inputs":"a cat"})");
    for (const auto& row : picture_rows) {
        for (const std::string task : {"text-to-image", ""}) {
            SCOPED_TRACE(std::string(row.accept) + (task.empty() ? " (task not known)" : ""));
            const std::pair<std::string, how> doors[] = {
                {"/v1/inference?model=m" + (task.empty() ? "" : "&task=" + task), row.native},
                {"/models/m" + (task.empty() ? "" : "/pipeline/" + task), row.huggingface},
            };
            for (const auto& [target, expected] : doors) {
                SCOPED_TRACE(target);
                const auto asked = sample{.target = target, .accept = std::string(row.accept)}.parse(*body);
                ASSERT_TRUE(asked.has_value()) << asked.error().text;
                const auto rendered = tongue_of(target.substr(0, target.find('?')))
                                          .render(*asked, answer_is::bytes, "image/jpeg");
                ASSERT_TRUE(rendered.has_value()) << rendered.error().text;
                EXPECT_EQ(name_of(rendered->as), name_of(expected));
                if (rendered->as == how::as_is) {
                    EXPECT_EQ(rendered->content_type, "image/jpeg")
                        << "the true type, whatever was asked for";
                    EXPECT_TRUE(rendered->before.empty());
                    EXPECT_TRUE(rendered->after.empty());
                    continue;
                }
                EXPECT_EQ(rendered->content_type, "application/json");
                json_reader reader;
                const auto root = reader.read(rendered->before + "AAECAw==" + rendered->after);
                EXPECT_EQ(text_at(root, "/base64"), "AAECAw==");
                EXPECT_EQ(text_at(root, "/media_type"), "image/jpeg");
            }
        }
    }
}

TEST(render, bytes_of_no_known_type_have_a_type_still)
{
    const request asked;
    const auto rendered = tongue_of("/v1/inference").render(asked, answer_is::bytes, "");
    ASSERT_TRUE(rendered.has_value());
    EXPECT_EQ(rendered->content_type, "application/octet-stream");
}

TEST(render, json_stays_json_whatever_is_accepted)
{
    const auto body = sample_body::json(R"({"inputs":"a cat"})");
    for (const auto& row : picture_rows) {
        SCOPED_TRACE(row.accept);
        for (const std::string target :
             {"/v1/inference?model=m", "/models/m", "/models/m/pipeline/fill-mask"}) {
            const auto asked = sample{.target = target, .accept = std::string(row.accept)}.parse(*body);
            ASSERT_TRUE(asked.has_value()) << asked.error().text;
            const auto rendered = tongue_of(target.substr(0, target.find('?')))
                                      .render(*asked, answer_is::json, "application/json");
            ASSERT_TRUE(rendered.has_value());
            EXPECT_EQ(name_of(rendered->as), "as_is");
            EXPECT_EQ(rendered->content_type, "application/json") << "JS reads nothing else as JSON";
        }
    }
}

struct stream_row
{
    std::string_view path;
    bool stream;
    answer_is kind;
    std::string_view expected; // empty: a failure
    std::string_view content_type;
};

TEST(render, streams_and_answers_meet)
{
    const std::string_view sse = "text/event-stream";
    const std::string_view json = "application/json";
    const std::string_view chat_doors[] = {"/v1/chat/completions", "/models/m/v1/chat/completions"};
    std::vector<stream_row> rows = {
        {"/v1/inference", false, answer_is::events, "", ""},
        {"/v1/inference", true, answer_is::events, "events", sse},
        {"/v1/inference", true, answer_is::json, "chunked_events", sse},
        {"/models/m", false, answer_is::events, "", ""},
        {"/models/m", true, answer_is::events, "events", sse},
        {"/models/m", true, answer_is::json, "chunked_events", sse},
        {"/models/m", true, answer_is::bytes, "as_is", "image/png"},
    };
    for (const auto path : chat_doors) {
        rows.push_back({path, false, answer_is::json, "as_is", json});
        rows.push_back({path, true, answer_is::json, "chunked_events", sse});
        rows.push_back({path, true, answer_is::events, "events", sse});
        rows.push_back({path, false, answer_is::events, "", ""});
        rows.push_back({path, false, answer_is::bytes, "", ""});
        rows.push_back({path, true, answer_is::bytes, "", ""});
    }
    for (const auto& row : rows) {
        SCOPED_TRACE(std::string(row.path) + (row.stream ? " stream" : " plain"));
        const auto found = find_door(row.path, wire::method::post);
        ASSERT_TRUE(found.has_value());
        request asked;
        asked.at = found->at;
        asked.stream = row.stream;
        const auto rendered = found->tongue->render(asked, row.kind, "image/png");
        if (row.expected.empty()) {
            ASSERT_FALSE(rendered.has_value());
            EXPECT_EQ(rendered.error().what, code::unavailable);
            EXPECT_EQ(rendered.error().from, origin::upstream);
            EXPECT_FALSE(rendered.error().text.empty());
            continue;
        }
        ASSERT_TRUE(rendered.has_value()) << rendered.error().text;
        EXPECT_EQ(name_of(rendered->as), row.expected);
        EXPECT_EQ(rendered->content_type, row.content_type);
    }
}

} // namespace
} // namespace gw::dialects
