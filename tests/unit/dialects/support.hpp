// Bodies as ingress describes them, heads as the scanner yields them, and a plain look at JSON, for the tests
// of the dialects.
#pragma once

#include "dialects/dialect.hpp"
#include "wire/json_scan.hpp"
#include "wire/request_head.hpp"
#include "wire/sse.hpp"
#include "wire/target.hpp"

#include <gtest/gtest.h>
#include <simdjson.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gw::dialects {

// A body and what is known of it. Not movable: the facts are views.
class sample_body
{
public:
    enum class lies : bool { in_memory, elsewhere };

    static std::unique_ptr<sample_body> json(std::string text, lies where = lies::in_memory)
    {
        auto made = std::make_unique<sample_body>(std::move(text));
        wire::json_scanner scanner;
        const auto fed = scanner.feed(made->bytes_);
        EXPECT_TRUE(fed.has_value()) << "a sample must be JSON: " << made->bytes_.substr(0, 80);
        auto index = scanner.finish();
        EXPECT_TRUE(index.has_value()) << "a sample must be JSON: " << made->bytes_.substr(0, 80);
        if (!index) {
            return made;
        }
        made->index_ = std::move(*index);
        made->facts_.json = true;
        made->facts_.index = &made->index_;
        made->facts_.text = where == lies::in_memory ? std::string_view{made->bytes_} : std::string_view{};
        for (const auto& each : made->index_.members) {
            const auto text_of = std::string_view{made->bytes_}.substr(each.where.begin, each.where.size());
            made->facts_.members.push_back(
                {.name = each.key, .where = each.where, .text = each.holds_long ? std::string_view{} : text_of
                }
            );
        }
        return made;
    }

    static std::unique_ptr<sample_body> raw(std::string bytes)
    {
        auto made = std::make_unique<sample_body>(std::move(bytes));
        made->facts_.first_bytes = std::string_view{made->bytes_}.substr(0, 64);
        return made;
    }

    explicit sample_body(std::string bytes) : bytes_(std::move(bytes)) { facts_.size = bytes_.size(); }
    sample_body(const sample_body&) = delete;
    sample_body& operator=(const sample_body&) = delete;

    const body_facts& facts() const { return facts_; }
    std::string_view at(byte_range range) const
    {
        return std::string_view{bytes_}.substr(range.begin, range.size());
    }

private:
    std::string bytes_;
    wire::json_index index_;
    body_facts facts_;
};

// One request from its path to the normalized form; what a test varies are the members.
struct sample
{
    std::string target;
    std::string content_type;
    std::string accept;
    std::string user_agent;
    std::string timeout;
    std::string traceparent;

    result<request> parse(const sample_body& body) const
    {
        const auto split = wire::parse_target(target);
        EXPECT_TRUE(split.has_value()) << target;
        if (!split) {
            return std::unexpected(split.error());
        }
        auto found = find_door(split->path, wire::method::post);
        if (!found) {
            return fail(found);
        }
        wire::request_head head;
        head.verb = wire::method::post;
        const auto set = [](std::string_view& field, const std::string& value) {
            if (!value.empty()) {
                field = value;
            }
        };
        set(head.content_type, content_type);
        set(head.accept, accept);
        set(head.user_agent, user_agent);
        set(head.timeout, timeout);
        set(head.traceparent, traceparent);
        return found->tongue->parse(*found, head, split->query, body.facts());
    }
};

inline const dialect& tongue_of(std::string_view path)
{
    auto found = find_door(path, wire::method::post);
    if (!found) {
        found = find_door(path, wire::method::get);
    }
    EXPECT_TRUE(found.has_value()) << path;
    return found ? *found->tongue : fallback_dialect();
}

// JSON, checked by another reader than the one that wrote it. The parser owns what is returned.
class json_reader
{
public:
    simdjson::dom::element read(std::string_view text)
    {
        simdjson::dom::element root;
        const auto error = parser_.parse(simdjson::padded_string(text)).get(root);
        EXPECT_EQ(error, simdjson::SUCCESS) << simdjson::error_message(error) << ": " << text.substr(0, 200);
        return root;
    }

private:
    simdjson::dom::parser parser_;
};

// The text at a JSON pointer; a remark instead of a text when there is none, so that a comparison shows it.
inline std::string text_at(simdjson::dom::element root, std::string_view pointer)
{
    std::string_view text;
    if (root.at_pointer(pointer).get(text) != simdjson::SUCCESS) {
        return "(no text at " + std::string(pointer) + ")";
    }
    return std::string(text);
}

inline bool has(simdjson::dom::element root, std::string_view pointer)
{
    return root.at_pointer(pointer).error() == simdjson::SUCCESS;
}

// The data of each event of a stream, in order; every event must be of the one safe form.
inline std::vector<std::string> events_in(std::string_view stream)
{
    std::vector<std::string> all;
    while (!stream.empty()) {
        const auto end = stream.find("\n\n");
        EXPECT_NE(end, std::string_view::npos) << "an event without its blank line: " << stream.substr(0, 80);
        if (end == std::string_view::npos) {
            break;
        }
        const auto event = stream.substr(0, end);
        EXPECT_TRUE(event.starts_with("data: ")) << event.substr(0, 80);
        EXPECT_EQ(event.find_first_of("\r\n"), std::string_view::npos) << event.substr(0, 80);
        for (const std::string_view breaks : {"\xC2\x85", "\xE2\x80\xA8", "\xE2\x80\xA9"}) {
            EXPECT_EQ(event.find(breaks), std::string_view::npos)
                << "a character at which line readers split";
        }
        all.emplace_back(event.substr(6));
        stream.remove_prefix(end + 2);
    }
    return all;
}

} // namespace gw::dialects
