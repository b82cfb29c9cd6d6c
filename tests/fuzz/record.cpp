// Whatever stands in a request, its access record is one line: a JSON object of bounded size, no control
// characters, valid UTF-8, each value as it was up to its cap.
#include "telemetry/access_record.hpp"

#include "property.hpp"

#include <simdjson.h>

#include <algorithm>
#include <string>

using namespace gw;
using namespace gw::telemetry;

namespace {

constexpr std::size_t most_text = 512;

// The text up to the next zero byte.
std::string_view take(std::string_view& from)
{
    const std::string_view text = from.substr(0, from.find('\0'));
    from.remove_prefix(std::min(text.size() + 1, from.size()));
    return text;
}

} // namespace

GW_FUZZ(input)
{
    access_record what;
    what.at = std::chrono::system_clock::time_point{
        std::chrono::milliseconds{1767225600123 + static_cast<std::int64_t>(input.size())}
    };
    what.request_id = take(input);
    what.model = take(input);
    what.client = take(input);
    what.entry = take(input);
    what.error = take(input);
    what.task = take(input);
    what.status = static_cast<int>(input.size() % 600);
    while (!input.empty() && what.route.size() < 4) {
        what.route.push_back(
            {.upstream = take(input),
             .token = take(input),
             .outcome = take(input),
             .bytes_sent = input.size(),
             .ms = 1.25}
        );
    }
    std::string line = "before";
    gw::telemetry::format(line, what);
    require(line.starts_with("before") && line.ends_with("}\n"), "one object, appended");
    line.erase(0, 6);
    line.pop_back();
    require(
        std::ranges::all_of(line, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; }),
        "one line"
    );
    require(simdjson::validate_utf8(line), "valid UTF-8");
    require(line.size() < 1000 + 6 * most_text * (6 + 3 * what.route.size()), "of bounded size");

    static simdjson::dom::parser parser;
    simdjson::dom::object record;
    require(parser.parse(line).get(record) == simdjson::SUCCESS, "simdjson reads it");
    std::string_view model;
    require(record.at_key("model").get(model) == simdjson::SUCCESS, "the model is there");
    if (simdjson::validate_utf8(what.model) && what.model.size() <= most_text) {
        require(model == what.model, "as it was");
    }
    simdjson::dom::array route;
    require(
        record.at_key("route").get(route) == simdjson::SUCCESS && route.size() == what.route.size(),
        "the route"
    );
}
