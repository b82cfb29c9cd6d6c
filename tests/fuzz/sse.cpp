// Any split gives the same events; the raw parts joined are the stream; no event is larger than the limit
// unless it says so.
#include "wire/sse.hpp"

#include "property.hpp"

#include <string>
#include <vector>

using namespace gw;
using namespace gw::wire;

namespace {

constexpr std::size_t limit = 24;

struct kept
{
    std::string raw, name, data;
    bool has_data, is_comment, oversize, complete;

    friend bool operator==(const kept&, const kept&) = default;
};

std::vector<kept> split(std::string_view input, std::size_t size)
{
    std::vector<kept> events;
    const auto keep = [&events](const sse_event& e) {
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
}
