// A complete answer told as an event stream: single lines of JSON and [DONE], the same text, and not much
// more bytes than the answer had.
#include "dialects/answers.hpp"

#include "property.hpp"
#include "wire/json_scan.hpp"
#include "wire/sse.hpp"

#include <simdjson.h>

#include <string>
#include <vector>

using namespace gw;

namespace {

constexpr std::string_view done = "[DONE]";

// The data of each event.
std::vector<std::string> data_of(std::string_view stream)
{
    std::vector<std::string> all;
    wire::sse_splitter splitter{stream.size() + 1};
    splitter.push(stream);
    while (const auto each = splitter.next()) {
        require(each->has_data && each->name.empty() && each->complete, "events with data alone");
        require(!each->data.contains('\n'), "in one line");
        for (const std::string_view bad : {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"}) {
            require(!each->data.contains(bad), "whatever a line reader takes for the end of one");
        }
        all.emplace_back(each->data);
    }
    require(!splitter.finish(), "and whole");
    return all;
}

// What the client puts together as the content of the first choice.
std::string content_of(const std::vector<std::string>& events)
{
    static simdjson::dom::parser parser;
    std::string content;
    for (const std::string& each : events) {
        simdjson::dom::element root;
        std::string_view piece;
        std::int64_t index = 0;
        if (each == done || parser.parse(each).get(root) != simdjson::SUCCESS ||
            root.at_pointer("/choices/0/delta/content").get(piece) != simdjson::SUCCESS) {
            continue;
        }
        const bool first = root.at_pointer("/choices/0/index").get(index) == simdjson::SUCCESS && index == 0;
        content += first ? piece : "";
    }
    return content;
}

void check_content(std::string_view json, const std::vector<std::string>& events)
{
    static simdjson::dom::parser parser;
    simdjson::dom::element root;
    simdjson::dom::array choices;
    std::string_view content;
    const simdjson::padded_string padded{json};
    if (parser.parse(padded).get(root) != simdjson::SUCCESS ||
        root.at_pointer("/choices").get(choices) != simdjson::SUCCESS || choices.size() != 1 ||
        root.at_pointer("/choices/0/message/content").get(content) != simdjson::SUCCESS ||
        root.at_pointer("/choices/0/index").error() == simdjson::SUCCESS ||
        events.front().find("chat.completion.chunk") == std::string::npos) {
        return;
    }
    require(content_of(events) == content, "the pieces make the content");
}

} // namespace

GW_FUZZ(input)
{
    request asked{.dialect = dialect_id::openai, .at = door::openai_chat, .model = "m", .stream = true};
    asked.request_id = "r";
    asked.parameters = R"({"stream_options":{"include_usage":true}})";
    const auto stream = dialects::events_of(asked, input);
    wire::json_scanner scanner;
    (void)scanner.feed(input);
    require(stream.has_value() == scanner.finish().has_value(), "JSON becomes events");
    if (!stream) {
        return;
    }
    require(stream->size() <= (16u << 20u) + 16 * input.size(), "not much more bytes than the answer had");
    const std::vector<std::string> events = data_of(*stream);
    require(events.size() >= 2 && events.back() == done, "something, then the end");
    for (std::size_t i = 0; i + 1 < events.size(); ++i) {
        wire::json_scanner again{{.depth = 1000, .plain_bytes = 1 << 26}};
        require(again.feed(events[i]) && again.finish().has_value(), "each event is JSON");
    }
    check_content(input, events);
}
