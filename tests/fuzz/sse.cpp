// Any split gives the same events; the raw parts joined are the stream; no event is larger than the limit
// unless it says so; the standard's own algorithm, line by line, finds the same names and data.
#include "wire/sse.hpp"

#include "property.hpp"

#include <algorithm>
#include <string>
#include <vector>

using namespace gw;
using namespace gw::wire;

namespace {

constexpr std::size_t small = 24;

struct kept
{
    std::string raw, name, data;
    bool has_data, is_comment, oversize, complete;

    friend bool operator==(const kept&, const kept&) = default;
};

std::vector<kept> split(std::string_view input, std::size_t size, std::size_t limit = small)
{
    std::vector<kept> events;
    const auto keep = [&events, limit](const sse_event& e) {
        require(e.oversize || e.raw.size() <= limit, "an event within the limit");
        if (e.oversize && !events.empty() && events.back().oversize && !events.back().complete) {
            events.back().raw += e.raw; // parts may be cut anywhere
            events.back().complete = e.complete;
            return;
        }
        events.push_back(
            {std::string{e.raw},
             std::string{e.name},
             std::string{e.data},
             e.has_data,
             e.is_comment,
             e.oversize,
             e.complete}
        );
    };
    sse_splitter splitter{limit};
    in_blocks(input, size, [&](std::string_view block) {
        splitter.push(block);
        while (const auto each = splitter.next()) {
            keep(*each);
        }
        return true;
    });
    if (const auto last = splitter.finish()) {
        keep(*last);
    }
    return events;
}

struct dispatched
{
    std::string name, data;
    friend bool operator==(const dispatched&, const dispatched&) = default;
};

// WHATWG HTML, section 9.2.6, over the whole stream at once.
std::vector<dispatched> interpret(std::string_view stream)
{
    std::vector<dispatched> events;
    dispatched made;
    bool has_data = false;
    while (true) {
        const std::size_t end = stream.find_first_of("\r\n");
        if (end == std::string_view::npos) {
            return events; // an unfinished line, or event, counts for nothing
        }
        const std::string_view line = stream.substr(0, end);
        stream.remove_prefix(end + (stream.substr(end).starts_with("\r\n") ? 2 : 1));
        if (line.empty()) {
            if (has_data) {
                made.data.pop_back();
                events.push_back(made);
            }
            made = {};
            has_data = false;
            continue;
        }
        const std::size_t colon = std::min(line.find(':'), line.size());
        std::string_view value = line.substr(std::min(colon + 1, line.size()));
        value.remove_prefix(value.starts_with(' ') ? 1 : 0);
        if (line.substr(0, colon) == "event") {
            made.name = value;
        } else if (line.substr(0, colon) == "data") {
            made.data.append(value).append("\n");
            has_data = true;
        }
    }
}

} // namespace

GW_FUZZ(input)
{
    const std::vector<kept> whole = split(input, input.size());
    for (const std::size_t size : {1u, 2u, 3u, 7u, 16u}) {
        require(split(input, size) == whole, "any split gives the same events");
    }
    std::string joined;
    for (const kept& each : whole) {
        joined += each.raw;
    }
    const std::string_view without_mark = input.starts_with("\xef\xbb\xbf") ? input.substr(3) : input;
    require(joined == without_mark, "the parts joined are the stream");

    std::vector<dispatched> ours;
    for (const kept& each : split(input, 5, input.size() + 1)) {
        require(!each.oversize, "nothing is larger than the stream");
        if (each.complete && each.has_data) {
            ours.push_back({each.name, each.data});
        }
    }
    require(ours == interpret(without_mark), "the standard's algorithm finds the same");
}
