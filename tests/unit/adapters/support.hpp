// Requests as dialects make them, upstreams as policies name them, and what a body plan comes to.
#pragma once

#include "adapters/adapter.hpp"
#include "payload/base64.hpp"
#include "payload/find_payload.hpp"
#include "payload/media_type.hpp"
#include "payload/tasks.hpp"
#include "payload/transcode.hpp"
#include "wire/json_scan.hpp"
#include "wire/json_walk.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gw::adapters::testing {

// Bytes of every value, the same for the same length.
inline std::string some_bytes(std::size_t length)
{
    std::string bytes(length, '\0');
    unsigned state = 12345U + static_cast<unsigned>(length);
    for (char& each : bytes) {
        state = state * 1103515245U + 12345U;
        each = static_cast<char>(state >> 16U);
    }
    return bytes;
}

inline const std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1", 24);

// A picture by its first bytes, of this length (1 at least).
inline std::string image(std::size_t length)
{
    return (png + some_bytes(length)).substr(0, std::max(length, std::size_t{1}));
}

// As PHP writes JSON.
inline std::string slashes_escaped(std::string_view text)
{
    std::string out;
    for (const char c : text) {
        out += c == '/' ? "\\/" : std::string(1, c);
    }
    return out;
}

// A request and the body that it describes.
struct asked_with_body
{
    std::string body;
    request asked;
};

inline std::unique_ptr<asked_with_body>
raw(std::string bytes, std::string media_type, std::string_view task, std::string parameters = {})
{
    auto made = std::make_unique<asked_with_body>();
    made->body = std::move(bytes);
    request& asked = made->asked;
    asked.at = door::native_inference;
    asked.task = payloads::find_task(task);
    asked.raw = true;
    asked.body_size = made->body.size();
    asked.content_type = media_type;
    asked.parameters = std::move(parameters);
    asked.binary = payload{
        .as = payload::form::raw,
        .where = {0, made->body.size()},
        .member = {0, made->body.size()},
        .size = made->body.size(),
        .media_type = std::move(media_type),
    };
    return made;
}

inline std::unique_ptr<asked_with_body>
json(std::string body, std::string_view task, door at = door::hf_task, std::uint64_t long_string = 64 * 1024)
{
    auto made = std::make_unique<asked_with_body>();
    made->body = std::move(body);
    wire::json_scanner scanner({.long_string = long_string});
    EXPECT_TRUE(scanner.feed(made->body)) << made->body;
    const auto index = scanner.finish();
    EXPECT_TRUE(index) << made->body;
    request& asked = made->asked;
    asked.at = at;
    asked.task = payloads::find_task(task);
    asked.body_size = made->body.size();
    asked.content_type = "application/json";
    const std::string_view text = made->body;
    for (const auto& each : index->members) {
        const std::string_view value = text.substr(each.where.begin, each.where.size());
        asked.members.push_back(
            {each.key,
             each.where,
             each.holds_long ? std::string_view{} : value,
             each.kind == wire::json_kind::array}
        );
    }
    if (const auto* inputs = index->find("inputs")) {
        asked.inputs = inputs->where;
    }
    if (const auto* parameters = find_member(asked, "parameters");
        parameters != nullptr && parameters->text != "{}") {
        asked.parameters = std::string(parameters->text);
    }
    if (const auto* stream = find_member(asked, "stream")) {
        asked.stream = stream->text == "true";
    }
    if (const auto* model = index->find("model"); model != nullptr && at != door::hf_task) {
        asked.model_at = model->where;
    }
    auto found = payloads::find_payload(*index, asked.members, asked.task, [&](byte_range range) {
        return text.substr(range.begin, range.size());
    });
    EXPECT_TRUE(found) << made->body;
    if (found) {
        asked.binary = *found;
    }
    return made;
}

// What a plan comes to over a body, fed in blocks of `split` bytes.
inline std::string execute(const body_plan& plan, std::string_view source, std::size_t split = 4096)
{
    std::string sent;
    for (const piece& each : plan.pieces) {
        payloads::transcoder work(each);
        const std::string_view range = source.substr(each.from.begin, each.from.size());
        for (std::size_t at = 0; at < range.size(); at += split) {
            const auto fed = work.feed(range.substr(at, split), sent);
            EXPECT_TRUE(fed) << fed.error().text << fed.error().detail;
        }
        const auto finished = work.finish(sent);
        EXPECT_TRUE(finished) << finished.error().text << finished.error().detail;
    }
    EXPECT_EQ(sent.size(), plan.length()) << "Content-Length is told before one byte has arrived";
    return sent;
}

inline config::upstream upstream(config::kind kind, config::engine engine = config::engine::toolkit)
{
    config::upstream made;
    made.name = "there";
    made.kind = kind;
    made.engine = engine;
    made.at.host = "upstream.example";
    return made;
}

inline config::upstream with_template(std::vector<config::template_part> parts)
{
    auto to = upstream(config::kind::dedicated, config::engine::custom);
    to.request = std::move(parts);
    return to;
}

inline target at(const config::upstream& to, const request& asked, std::string_view model = "org/name")
{
    return {.to = &to, .model = model, .task = asked.task};
}

// The request that an upstream would get.
inline exchange_request sent(const request& asked, const target& to)
{
    const auto talk = adapter_for(*to.to).open(asked, to).value();
    auto first = talk->step(event::start{}, {}, {});
    EXPECT_TRUE(std::holds_alternative<action::send>(first));
    return std::get<action::send>(first).what;
}

inline encoding planned(const request& asked, const target& to)
{
    const auto plan = adapter_for(*to.to).plan(asked, to);
    EXPECT_TRUE(plan) << plan.error().text;
    return plan.value_or(encoding::custom_template);
}

inline failure refused(const request& asked, const target& to)
{
    const auto plan = adapter_for(*to.to).plan(asked, to);
    EXPECT_FALSE(plan) << to_string(*plan);
    return plan ? failure{} : plan.error();
}

} // namespace gw::adapters::testing
