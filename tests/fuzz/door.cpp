// Paths and queries that the target scanner accepted: a door's model is clean text that a walk never reached,
// the parameters are one JSON object whose values read back, and every refusal says what to do.
#include "dialects/dialect.hpp"
#include "dialects/reading.hpp"

#include "property.hpp"
#include "wire/json_scan.hpp"
#include "wire/json_text.hpp"
#include "wire/target.hpp"

#include <simdjson.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

using namespace gw;
using namespace gw::dialects;

namespace {

void check_door(std::string_view path)
{
    for (const wire::method verb :
         {wire::method::get, wire::method::head, wire::method::post, wire::method::put, wire::method::options
         }) {
        const result<door_match> found = find_door(path, verb);
        if (!found) {
            require(
                found.error().from == origin::client && found.error().text.size() < 1000, "a short reason"
            );
            const bool wrong_method = found.error().what == code::method_not_allowed;
            require(wrong_method == !found.error().allow.empty(), "405 says what is allowed");
            require(wrong_method || found.error().what == code::no_such_door, "else there is no door");
            continue;
        }
        require(found->tongue != nullptr, "a door has a dialect");
        require(std::ranges::count(found->model, '/') <= 1, "a model has at most a namespace");
        const std::string walked = "/" + found->model + "/" + found->task + "/";
        require(!walked.contains("/../") && !walked.contains("/./"), "no walk");
        require(
            std::ranges::none_of(walked, [](char c) { return static_cast<unsigned char>(c) < 0x20; }), "clean"
        );
    }
}

// What the query says, pair by pair.
void check_parameters(std::string_view query, const std::string& json)
{
    std::map<std::string, std::vector<std::string>> wanted;
    (void)wire::for_each_query(query, [&](const std::string& name, const std::string& value) {
        wanted[name].push_back(value);
    });
    require(wanted.empty() == json.empty(), "no parameters, no object");
    if (json.empty()) {
        return;
    }
    wire::json_scanner scanner{{.members = 100'000, .long_string = 1 << 20}};
    (void)scanner.feed(json);
    const auto index = scanner.finish();
    require(index && index->root == wire::json_kind::object, "one JSON object, each name once");
    require(index->members.size() == wanted.size(), "as many names as the query has");
    for (const auto& each : index->members) {
        const auto& values = wanted[each.key];
        require(!values.empty(), "a name of the query");
        const std::string_view text = std::string_view{json}.substr(each.where.begin, each.where.size());
        require((values.size() > 1) == (each.kind == wire::json_kind::array), "several values make an array");
        if (each.kind == wire::json_kind::string) {
            const auto said = wire::unescape_json_string(text.substr(1, text.size() - 2));
            require(said && *said == values.front(), "a text is what was said");
        } else if (each.kind != wire::json_kind::array) {
            require(text == values.front(), "a number or flag is what was said");
        }
    }
}

} // namespace

GW_FUZZ(input)
{
    if (const auto target = wire::parse_target(input)) {
        check_door(target->path);
    }
    const std::string_view query = input.substr(std::min(input.find('?') + 1, input.size()));
    const result<query_facts> all = read_query(query, reserved::nothing);
    const result<query_facts> some = read_query(query, reserved::model_and_task);
    if (!all) {
        require(
            !some && all.error().from == origin::client && !all.error().text.empty(), "a refusal explains"
        );
        return;
    }
    require(!all->model && !all->task, "nothing is reserved");
    check_parameters(query, all->parameters);
    require(!some || some->parameters.size() <= all->parameters.size(), "model and task are no parameters");
}
